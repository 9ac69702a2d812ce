// SPDX-License-Identifier: Apache-2.0
#include "devices/unix_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <utility>

namespace uvmm {
namespace {

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

Result<Fd> new_socket(const std::string& path, int type) {
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  // The mode of an unbound socket becomes that of the path, less the umask: there is no moment at which
  // others could connect.
  if (!fd || ::fchmod(fd.get(), kMode) < 0) {
    return fail(ErrorKind::kHost, "cannot create a socket for {}: {}", path, error_text(errno));
  }
  return fd;
}

// The directory of `path`, locked: between bind() and listen() a socket looks like one that nobody listens
// on, and a stale one must not be taken away twice. Whoever has the lock has it for microseconds; if not, he
// is not one of us, and is not waited for.
Result<Fd> lock_directory(const std::string& path) {
  constexpr int kTries = 100;
  constexpr useconds_t kPause = 5000;
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == path.npos ? "." : path.substr(0, slash + 1);
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(ErrorKind::kCannotCreate, "cannot listen at {}: {}", path, error_text(errno));
  for (int tries = 1; ::flock(fd.get(), LOCK_EX | LOCK_NB) < 0; ++tries) {
    if (tries == kTries) return fail(ErrorKind::kBusy, "cannot listen at {}: its directory is locked", path);
    ::usleep(kPause);
  }
  return fd;
}

// Takes `path` away if it is a socket that nobody listens on: what a killed process leaves behind.
Result<void> remove_stale(const std::string& path, const sockaddr_un& name, int type) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode)) {
    return with_hint(fail(ErrorKind::kCannotCreate, "cannot listen at {}: there is a file already", path),
                     "remove it, or choose another path");
  }
  const Fd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail(ErrorKind::kHost, "cannot listen at {}: {}", path, error_text(errno));
  if (::connect(probe.get(), as_sockaddr(name), sizeof name) < 0 && errno == ECONNREFUSED &&
      ::unlink(path.c_str()) == 0) {
    return {};
  }
  return with_hint(fail(ErrorKind::kBusy, "cannot listen at {}: another process does", path),
                   "choose another path");
}

}  // namespace

Result<UnixListener> UnixListener::listen(const std::string& path, const Options& options) {
  const sockaddr_un name = UVMM_TRY(socket_name(path));
  const Fd lock = UVMM_TRY(lock_directory(path));
  Fd fd = UVMM_TRY(new_socket(path, options.type));
  int error = ::bind(fd.get(), as_sockaddr(name), sizeof name) < 0 ? errno : 0;
  if (error == EADDRINUSE) {
    UVMM_CHECK(remove_stale(path, name, options.type));
    error = ::bind(fd.get(), as_sockaddr(name), sizeof name) < 0 ? errno : 0;
  }
  if (error != 0) {
    return fail(ErrorKind::kCannotCreate, "cannot listen at {}: {}", path, error_text(error));
  }
  struct stat status{};
  if (::lstat(path.c_str(), &status) < 0 || ::listen(fd.get(), options.backlog) < 0) {
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
