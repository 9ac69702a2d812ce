// SPDX-License-Identifier: Apache-2.0
// LoopDevice: a file as a block device, while this object lives. Skips the test where that is not possible.
#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "tests/fakes/skip.h"

namespace uvmm {

class LoopDevice {
 public:
  explicit LoopDevice(const std::string& path, std::uint32_t block_size = 512) {
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(file);
    config.block_size = block_size;
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;  // gone with its last user, however that ends
    bool made = false;
    for (int tries = 0; tries < 100; ++tries) {  // another process may take the free one first
      path_ = "/dev/loop" + std::to_string(::ioctl(control, LOOP_CTL_GET_FREE));
      fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
      made = fd_ >= 0 && ::ioctl(fd_, LOOP_CONFIGURE, &config) == 0;
      if (made) break;
      const bool taken = errno == EBUSY;
      if (fd_ >= 0) ::close(fd_);
      if (!taken) break;
    }
    ::close(control);
    ::close(file);
    if (!made) skip("no loop devices here");
  }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;
  ~LoopDevice() { ::close(fd_); }

  const std::string& path() const { return path_; }

 private:
  int fd_ = -1;
  std::string path_;
};

}  // namespace uvmm
