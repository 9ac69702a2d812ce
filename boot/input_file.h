// SPDX-License-Identifier: Apache-2.0
// InputFile: a regular file that the user named, open for reading. Any one thread at a time.
//
// It may change, or lose its end, while it is read: it is never mapped, and every read says whether it was
// whole.
#pragma once

#include <sys/stat.h>

#include <span>
#include <string>
#include <string_view>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

struct InputFile {
  Fd fd;
  struct stat status{};

  u64 bytes() const { return static_cast<u64>(status.st_size); }
};

// Opens `path` without ever waiting for anyone (a FIFO's other end) and refuses what is not a regular file or
// is empty. `role` is for messages: "kernel".
Result<InputFile> open_input_file(std::string_view role, const std::string& path);

// Reads exactly target.size() bytes at `offset`, or fails: 0, or an errno value, or -1 for the end of the
// file.
[[nodiscard]] int read_exactly(int fd, std::span<u8> target, u64 offset);

// What read_exactly returned, as text.
std::string read_error_text(int error);

}  // namespace uvmm
