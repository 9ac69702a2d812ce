// SPDX-License-Identifier: Apache-2.0
// FileHandle: a file's name for good, as name_to_handle_at() gives it. A value; any thread.
#pragma once

#include <fcntl.h>

#include <cstring>
#include <memory>

#include "vmm/base/types.h"

namespace uvmm::fuse {

class FileHandle {
 public:
  FileHandle() = default;
  // From what packed() made.
  explicit FileHandle(const char* packed) {
    std::memcpy(storage_, packed, sizeof(struct file_handle));
    std::memcpy(storage_, packed, sizeof(struct file_handle) + raw().handle_bytes);
  }

  bool take(int directory, const char* name, int flags) {
    raw().handle_bytes = MAX_HANDLE_SZ;
    return ::name_to_handle_at(directory, name, &raw(), &mount_, flags) == 0;
  }
  int mount() const { return mount_; }

  // `mount_fd` is of any file on its mount that is open for more than its path.
  int open(int mount_fd, int flags) { return ::open_by_handle_at(mount_fd, &raw(), flags); }

  std::unique_ptr<char[]> packed() const {
    const std::size_t bytes = sizeof(struct file_handle) + raw().handle_bytes;
    auto copy = std::make_unique_for_overwrite<char[]>(bytes);
    std::memcpy(copy.get(), storage_, bytes);
    return copy;
  }

 private:
  struct file_handle& raw() { return *reinterpret_cast<struct file_handle*>(storage_); }
  const struct file_handle& raw() const { return *reinterpret_cast<const struct file_handle*>(storage_); }

  alignas(struct file_handle) char storage_[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  int mount_ = -1;
};

}  // namespace uvmm::fuse
