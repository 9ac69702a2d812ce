// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/client.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <utility>

#include <nlohmann/json.hpp>

#include "vmm/command/failure.h"
#include "vmm/control/http.h"

namespace uvmm::control {
namespace {

using command::error_text;
using command::quote;
using command::with_hint;

std::unexpected<Error> refuse_connection(const std::string& path, int error) {
  const auto failure = [&](ErrorKind kind) {
    return command::fail(kind, "cannot connect to {}: {}", quote(path), error_text(error));
  };
  switch (error) {
    case ENOENT:
    case ECONNREFUSED:
      return with_hint(failure(ErrorKind::kNoInput),
                       "`uvmm list` shows the VMs that run with --control; a path has a slash in it");
    case EACCES:
      return with_hint(failure(ErrorKind::kPermission), "the VM's user and root may control it");
    default:
      return failure(command::kind_of_open_error(error));
  }
}

}  // namespace

Result<Client> Client::connect(const std::string& path, std::chrono::milliseconds patience) {
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof name.sun_path)
    return command::fail(ErrorKind::kUsage, "{}: longer than a socket's path may be", quote(path));
  path.copy(name.sun_path, path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return command::fail(ErrorKind::kHost, "cannot create a socket: {}", error_text(errno));
  const timeval time = {.tv_sec = patience.count() / 1000, .tv_usec = patience.count() % 1000 * 1000};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
    ::setsockopt(fd.get(), SOL_SOCKET, option, &time, sizeof time);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0)
    return refuse_connection(path, errno);
  return Client(std::move(fd), path);
}

Result<void> Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0)
      return command::fail(ErrorKind::kHost, "cannot write to {}: {}", quote(path_), error_text(errno));
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<std::size_t> Client::receive(char* buffer, std::size_t size) {
  ssize_t got = 0;
  do {
    got = ::recv(fd_.get(), buffer, size, 0);
  } while (got < 0 && errno == EINTR);
  if (got >= 0) return static_cast<std::size_t>(got);
  if (errno == ECONNRESET) return 0;
  return command::fail(ErrorKind::kHost, "no answer from {}: {}", quote(path_), error_text(errno));
}

Result<Answer> Client::ask(const Call& call) {
  const std::string request = fmt::format(
      "{} {} HTTP/1.1\r\nHost: localhost\r\nAccept: {}\r\nContent-Type: application/json\r\nContent-Length: "
      "{}\r\n\r\n{}",
      call.method, call.target, call.accept, call.body.size(), call.body);
  return exchange(request, call.on_body, nullptr);
}

Result<Answer> Client::upgrade(const std::string& target, const std::string& protocol, std::string& first) {
  const std::string request = fmt::format(
      "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {}\r\n\r\n", target, protocol);
  return exchange(request, {}, &first);
}

// What follows the response on the connection is for `rest`.
Result<Answer> Client::exchange(const std::string& request,
                                const std::function<void(std::string_view)>& on_body, std::string* rest) {
  if (Result<void> sent = send(request); !sent) return std::unexpected(std::move(sent.error()));
  ResponseParser parser;
  char buffer[16 << 10];
  while (!parser.done()) {
    const Result<std::size_t> got = receive(buffer, sizeof buffer);
    if (!got) return std::unexpected(got.error());
    if (*got == 0 && !parser.has_head()) return Answer{};
    if (*got == 0) break;
    if (!parser.feed({buffer, *got}))
      return command::fail(ErrorKind::kBadData, "{}: what answers is not HTTP", quote(path_));
    if (on_body && parser.has_head() && parser.status() < 300) on_body(parser.take_body());
  }
  if (rest) *rest = parser.take_rest();
  return Answer{.status = parser.status(), .body = parser.take_body()};
}

void Client::wait_for_end() {
  char buffer[256];
  for (;;) {
    const Result<std::size_t> got = receive(buffer, sizeof buffer);
    if (!got || *got == 0) return;
  }
}

Error error_of(const Answer& answer) {
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  const auto member = [&](const char* name) {
    const auto found = json.is_object() ? json.find(name) : json.end();
    return found != json.end() && found->is_string() ? quote(found->get<std::string>()) : std::string();
  };
  const ErrorKind kind = answer.status == 400                           ? ErrorKind::kBadData
                         : answer.status == 404                         ? ErrorKind::kNoInput
                         : answer.status == 403                         ? ErrorKind::kPermission
                         : answer.status == 409 || answer.status == 503 ? ErrorKind::kBusy
                                                                        : ErrorKind::kHost;
  std::string message = member("detail");
  if (message.empty()) message = fmt::format("the VM answers {}", answer.status);
  return {kind, std::move(message), member("hint")};
}

}  // namespace uvmm::control
