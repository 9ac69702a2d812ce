// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/notify.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <utility>

#include "vmm/command/failure.h"
#include "vmm/command/thread.h"
#include "vmm/command/values.h"

namespace uvmm::control {
namespace {

constexpr std::size_t kStackBytes = 128 << 10;
constexpr std::size_t kMostBytes = 4096;                    // of one message
constexpr timeval kPatience = {.tv_sec = 5, .tv_usec = 0};  // with a guest that begins one
constexpr std::string_view kCredential = "vmm.notify_socket";
constexpr std::uint32_t kOwnCid = 3;

std::unexpected<Error> refuse(const char* what) {
  return command::fail(ErrorKind::kCannotCreate, "$NOTIFY_SOCKET: cannot create {}: {}", what,
                       command::error_text(errno));
}

// A private directory, for the socket device that only this is for.
Result<std::string> make_directory() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  std::string path = std::string(runtime && runtime[0] == '/' ? runtime : "/tmp") + "/uvmm-notify-XXXXXX";
  if (!::mkdtemp(path.data())) return refuse("a directory");
  return path;
}

Result<Fd> make_credential() {
  const std::string text = fmt::format("vsock-stream:2:{}", GuestNotify::kPort);
  Fd fd(::memfd_create("notify", MFD_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return refuse("a credential");
  return fd;
}

// The next line of `text`, without its end, which goes from there.
bool take_line(std::string_view& text, std::string_view& line) {
  if (text.empty()) return false;
  const std::size_t end = std::min(text.find('\n'), text.size());
  line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return true;
}

// What a client says until it says no more.
std::string read_all(int fd) {
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  std::string text;
  char buffer[kMostBytes];
  while (text.size() < kMostBytes) {
    const ssize_t got = ::recv(fd, buffer, kMostBytes - text.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

}  // namespace

void notify_manager(const std::string& socket, std::string_view state) {
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  if (socket.empty() || socket.size() >= sizeof name.sun_path || state.empty()) return;
  socket.copy(name.sun_path, socket.size());
  if (name.sun_path[0] == '@') name.sun_path[0] = '\0';  // an abstract name
  const Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.size());
  ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&name),
           size);
}

// The guest is not to say what this process's number is, to ask for more time, or to keep descriptors. Its
// host name, its targets and the like (X_SYSTEMD_*) mean nothing to a service manager.
std::string for_manager(std::string_view from_guest) {
  std::string lines;
  for (std::string_view line; take_line(from_guest, line);) {
    const auto is_control = [](char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f; };
    if (std::ranges::any_of(line, is_control)) continue;
    if (line != "READY=1" && line != "STOPPING=1" && !line.starts_with("STATUS=")) continue;
    lines += line;
    lines += '\n';
  }
  return lines;
}

std::optional<int> exit_status_of(std::string_view from_guest) {
  constexpr std::string_view kName = "EXIT_STATUS=";
  std::optional<int> status;
  for (std::string_view line; take_line(from_guest, line);) {
    std::uint64_t number = 0;
    if (!line.starts_with(kName)) continue;
    if (command::parse_number(line.substr(kName.size()), 255, number).empty())
      status = static_cast<int>(number);
  }
  return status;
}

Result<std::unique_ptr<GuestNotify>> GuestNotify::prepare(Config& config) {
  const char* const manager = std::getenv("NOTIFY_SOCKET");
  const bool made = std::ranges::any_of(
      config.credentials, [](const CredentialConfig& credential) { return credential.id == kCredential; });
  if (!manager || (manager[0] != '/' && manager[0] != '@') || made) return nullptr;

  std::string directory;
  if (!config.vsock) {
    Result<std::string> own = make_directory();
    if (!own) return std::unexpected(std::move(own.error()));
    directory = std::move(*own);
    config.vsock = VsockConfig{.cid = kOwnCid, .path = directory + "/vsock"};
  }
  Result<Fd> credential = make_credential();
  if (!credential) return std::unexpected(std::move(credential.error()));
  auto listener = UnixListener::listen(fmt::format("{}_{}", config.vsock->path, kPort));
  if (!listener) return std::unexpected(std::move(listener.error()));
  config.credentials.push_back(
      {.id = std::string(kCredential), .path = fmt::format("/proc/self/fd/{}", credential->get())});
  std::unique_ptr<GuestNotify> notify(
      new GuestNotify(manager, std::move(directory), std::move(*listener), std::move(*credential)));
  ::unsetenv("NOTIFY_SOCKET");  // it is not for the programs that devices need
  return notify;
}

GuestNotify::GuestNotify(std::string manager, std::string directory, UnixListener listener, Fd credential)
    : manager_(std::move(manager)),
      directory_(std::move(directory)),
      listener_(std::move(listener)),
      credential_(std::move(credential)) {}

GuestNotify::~GuestNotify() {
  remove();
}

Result<void> GuestNotify::start() {
  const auto main = [](void* self) -> void* {
    static_cast<GuestNotify*>(self)->listen();
    return nullptr;
  };
  const Result<pthread_t> thread = command::start_thread(kStackBytes, main, this);
  if (!thread) return std::unexpected(thread.error());
  ::pthread_detach(*thread);
  notify_manager(manager_, "STATUS=The guest is booting");
  return {};
}

// systemd in the guest waits after each message until its connection is closed.
void GuestNotify::listen() {
  for (;;) {
    const Fd client(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client) hear(read_all(client.get()));
    if (!client && errno != EINTR && errno != ECONNABORTED) ::sleep(1);  // the host has no descriptor
  }
}

void GuestNotify::hear(std::string_view text) {
  if (const std::optional<int> status = exit_status_of(text)) exit_status_ = *status;
  notify_manager(manager_, for_manager(text));
}

void GuestNotify::stopping() {
  notify_manager(manager_, "STOPPING=1\nSTATUS=The VM has ended");
}

void GuestNotify::remove() {
  listener_.remove_path();
  if (!directory_.empty()) ::rmdir(std::exchange(directory_, {}).c_str());
}

}  // namespace uvmm::control
