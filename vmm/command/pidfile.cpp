// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/pidfile.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "vmm/command/failure.h"

namespace uvmm::command {
namespace {

// Opened and locked, and still the file that the path leads to: its last owner may have removed it between
// our two calls. -1 with errno otherwise; ESTALE means to try again.
int open_locked(const char* path) {
  const int fd = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
  if (fd < 0) return -1;
  struct stat opened{};
  struct stat current{};
  int error = 0;
  if (::fstat(fd, &opened) < 0 || !S_ISREG(opened.st_mode)) {
    error = EEXIST;
  } else if (::flock(fd, LOCK_EX | LOCK_NB) < 0) {
    error = errno;
  } else if (::stat(path, &current) < 0 || current.st_ino != opened.st_ino ||
             current.st_dev != opened.st_dev) {
    error = ESTALE;
  }
  if (error == 0) return fd;
  ::close(fd);
  errno = error;
  return -1;
}

// Empty, or a number and a line feed: so that a slip does not cost a file that was something else.
bool looks_like_pidfile(int fd) {
  char text[32];
  const ssize_t size = ::pread(fd, text, sizeof(text), 0);
  if (size < 0 || size == sizeof(text)) return false;
  return std::all_of(text, text + size,
                     [](char byte) { return (byte >= '0' && byte <= '9') || byte == '\n' || byte == ' '; });
}

}  // namespace

Result<Pidfile> Pidfile::create(const std::string& path) {
  int fd = -1;
  do {
    fd = open_locked(path.c_str());
  } while (fd < 0 && errno == ESTALE);
  if (fd < 0 && errno == EWOULDBLOCK) {
    return with_hint(fail(ErrorKind::kBusy, "--pidfile {}: another uvmm has it", quote(path)),
                     "give each VM a pidfile of its own");
  }
  if (fd < 0) {
    return with_hint(fail(ErrorKind::kCannotCreate, "--pidfile {}: {}", quote(path), error_text(errno)),
                     "name a file in a directory that exists and is yours, such as $XDG_RUNTIME_DIR");
  }

  if (!looks_like_pidfile(fd)) {
    ::close(fd);
    return with_hint(fail(ErrorKind::kCannotCreate, "--pidfile {}: exists and is no pidfile", quote(path)),
                     "name another file, or remove this one");
  }
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd, 0) < 0 ||
      ::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    const int error = errno;
    ::close(fd);
    return fail(ErrorKind::kCannotCreate, "--pidfile {}: {}", quote(path), error_text(error));
  }
  Pidfile pidfile;
  pidfile.path_ = path;
  pidfile.fd_ = fd;
  return pidfile;
}

Pidfile::Pidfile(Pidfile&& other) noexcept
    : path_(std::exchange(other.path_, {})), fd_(std::exchange(other.fd_, -1)) {}

Pidfile& Pidfile::operator=(Pidfile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

void Pidfile::remove() {
  if (fd_ < 0) return;
  ::unlink(path_.c_str());  // while it is still locked, so that nobody else's is removed
  ::close(std::exchange(fd_, -1));
}

}  // namespace uvmm::command
