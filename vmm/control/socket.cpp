// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "vmm/command/failure.h"
#include "vmm/control/listen_fds.h"
#include "vmm/control/paths.h"

namespace uvmm::control {
namespace {

using command::quote;
using Kind = command::ControlChoice::Kind;

constexpr int kBacklog = 64;

int socket_option(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

// Of clients that poll() reports, some may be gone before they are accepted.
void make_non_blocking(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// `subject` is how messages begin.
Result<Fd> inherit(int fd, const std::string& subject) {
  const bool fits = socket_option(fd, SO_DOMAIN) == AF_UNIX && socket_option(fd, SO_TYPE) == SOCK_STREAM &&
                    socket_option(fd, SO_ACCEPTCONN) == 1;
  if (!fits) {
    return command::with_hint(
        command::fail(ErrorKind::kBadData, "{}: is no Unix socket that listens", subject),
        "pass on a stream socket that is bound and listens");
  }
  Fd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own) return command::fail(ErrorKind::kHost, "{}: {}", subject, command::error_text(errno));
  ::close(fd);
  make_non_blocking(own.get());
  return own;
}

Result<Fd> inherit(const command::ControlChoice& choice) {
  if (choice.kind == Kind::kFd) return inherit(choice.fd, fmt::format("--control fd={}", choice.fd));
  const std::string subject = fmt::format("--control fd={}", quote(choice.path));
  if (const std::optional<int> passed = passed_fd(choice.path)) return inherit(*passed, subject);
  return command::with_hint(
      command::fail(ErrorKind::kBadData, "{}: the service manager has passed on none of that name", subject),
      "a socket unit has it with FileDescriptorName=");
}

Result<UnixListener> listen_at(const std::string& path) {
  if (path.starts_with(socket_directory() + '/')) ::mkdir(socket_directory().c_str(), 0700);
  Result<UnixListener> listener = UnixListener::listen(path, {.backlog = kBacklog});
  if (listener)
    make_non_blocking(listener->fd());
  else
    listener.error().message = fmt::format("--control: {}", quote(listener.error().message));
  return listener;
}

}  // namespace

Result<std::optional<ControlSocket>> ControlSocket::open(const command::ControlChoice& choice,
                                                         const std::string& vm) {
  if (choice.kind == Kind::kOff) return std::nullopt;
  if (choice.kind == Kind::kFd || choice.kind == Kind::kPassed) {
    Result<Fd> inherited = inherit(choice);
    if (!inherited) return std::unexpected(std::move(inherited.error()));
    return ControlSocket(std::move(*inherited));
  }
  Result<std::string> path = choice.kind == Kind::kAuto ? socket_path(vm) : choice.path;
  if (!path) return std::unexpected(std::move(path.error()));
  Result<UnixListener> listener = listen_at(*path);
  if (!listener) return std::unexpected(std::move(listener.error()));
  return ControlSocket(std::move(*listener), std::move(*path));
}

}  // namespace uvmm::control
