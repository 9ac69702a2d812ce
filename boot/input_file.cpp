// SPDX-License-Identifier: Apache-2.0
#include "boot/input_file.h"

#include <fcntl.h>

namespace uvmm {

Result<InputFile> open_input_file(std::string_view role, const std::string& path) {
  InputFile file;
  file.fd = Fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file.fd) {
    const int error = errno;
    return fail(kind_of_open_error(error), "cannot open {} {}: {}", role, path, error_text(error));
  }
  if (::fstat(file.fd.get(), &file.status) != 0)
    return fail(ErrorKind::kHost, "cannot examine {} {}: {}", role, path, error_text(errno));
  if (!S_ISREG(file.status.st_mode))
    return fail(ErrorKind::kBadData, "cannot use {} {}: {}", role, path,
                S_ISDIR(file.status.st_mode) ? "it is a directory" : "it is not a regular file");
  if (file.status.st_size <= 0) return fail(ErrorKind::kBadData, "cannot use {} {}: it is empty", role, path);
  return file;
}

int read_exactly(int fd, std::span<u8> target, u64 offset) {
  while (!target.empty()) {
    const ssize_t done = ::pread(fd, target.data(), target.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    if (done == 0) return -1;
    target = target.subspan(static_cast<std::size_t>(done));
    offset += static_cast<u64>(done);
  }
  return 0;
}

std::string read_error_text(int error) {
  return error < 0 ? "it ends too early" : error_text(error);
}

}  // namespace uvmm
