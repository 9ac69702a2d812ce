// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

namespace uvmm {

// Where the descriptor is found as a file: "/proc/self/fd/N". For system calls that take nothing else.
class DescriptorPath {
 public:
  explicit DescriptorPath(int fd) {
    *fmt::format_to_n(text_, sizeof text_ - 1, "/proc/self/fd/{}", fd).out = 0;
  }
  const char* c_str() const { return text_; }
  const char* number() const { return text_ + sizeof("/proc/self/fd/") - 1; }

 private:
  char text_[32];
};

}  // namespace uvmm
