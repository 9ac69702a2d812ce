// SPDX-License-Identifier: Apache-2.0
#include "devices/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <utility>

namespace uvmm {
namespace {

constexpr int kBacklog = 16;  // clients that wait
constexpr mode_t kMode = 0600;

const sockaddr* as_sockaddr(const sockaddr_un& name) {
  return reinterpret_cast<const sockaddr*>(&name);
}

Result<sockaddr_un> socket_name(const std::string& path) {
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.empty() || path.size() >= sizeof name.sun_path) {
    return with_hint(
        fail(ErrorKind::kBadData, "cannot listen at {}: a socket's path has 1 to {} bytes, not {}", path,
             sizeof name.sun_path - 1, path.size()),
        "choose a shorter path, or a relative one");
  }
  path.copy(name.sun_path, path.size());
  return name;
}

Result<Fd> new_socket(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // The mode of an unbound socket becomes that of the path, less the umask: there is no moment at which
  // others could connect.
  if (!fd || ::fchmod(fd.get(), kMode) < 0) {
    return fail(ErrorKind::kHost, "cannot create a socket for {}: {}", path, error_text(errno));
  }
  return fd;
}

// Takes `path` away if it is a socket that nobody listens on: what a killed process leaves behind.
Result<void> remove_stale(const std::string& path, const sockaddr_un& name) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode)) {
    return with_hint(fail(ErrorKind::kCannotCreate, "cannot listen at {}: there is a file already", path),
                     "remove it, or choose another path");
  }
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe && ::connect(probe.get(), as_sockaddr(name), sizeof name) < 0 && errno == ECONNREFUSED &&
      ::unlink(path.c_str()) == 0) {
    return {};
  }
  return with_hint(fail(ErrorKind::kBusy, "cannot listen at {}: another process does", path),
                   "choose another path");
}

}  // namespace

Result<UnixListener> UnixListener::listen(const std::string& path) {
  const sockaddr_un name = UVMM_TRY(socket_name(path));
  Fd fd = UVMM_TRY(new_socket(path));
  int error = ::bind(fd.get(), as_sockaddr(name), sizeof name) < 0 ? errno : 0;
  if (error == EADDRINUSE) {
    UVMM_CHECK(remove_stale(path, name));
    error = ::bind(fd.get(), as_sockaddr(name), sizeof name) < 0 ? errno : 0;
  }
  if (error != 0) {
    return fail(ErrorKind::kCannotCreate, "cannot listen at {}: {}", path, error_text(error));
  }
  struct stat status{};
  if (::lstat(path.c_str(), &status) < 0 || ::listen(fd.get(), kBacklog) < 0) {
    error = errno;
    ::unlink(path.c_str());
    return fail(ErrorKind::kCannotCreate, "cannot listen at {}: {}", path, error_text(error));
  }
  return UnixListener(std::move(fd), path, status.st_dev, status.st_ino);
}

void UnixListener::remove_path() {
  struct stat status{};
  const std::string path = std::exchange(path_, {});
  if (!fd_ || ::lstat(path.c_str(), &status) < 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path.c_str());
}

}  // namespace uvmm
