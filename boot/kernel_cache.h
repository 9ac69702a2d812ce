// SPDX-License-Identifier: Apache-2.0
// KernelCache: unpacked kernels in a directory of the user's, found by content. Any one thread at a time;
// other processes may use the same directory at once.
//
// Nothing here ever fails a boot. A directory or an entry that someone else could have written is not used.
//
//   <key>.vmlinux    the unpacked kernel, then a trailer with its length; <key> is the SHA-256 of what was
//   packed <identity>.key   a symbolic link whose text is the key of a file of that device, inode, size and
//   times: it spares
//                    a start from reading, let alone hashing, the packed kernel
#pragma once

#include <sys/stat.h>

#include <optional>
#include <span>
#include <string>

#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/types.h"

namespace uvmm {

class KernelCache {
 public:
  struct Entry {
    Fd fd;
    u64 bytes = 0;  // of the kernel, which starts at offset 0. The file's content never changes.
  };

  // Opens, or creates with mode 0700, the directory. Nothing if that is not possible or it is not this user's
  // alone.
  static std::optional<KernelCache> open(const std::string& directory, Log& log);

  static std::string key_of(std::span<const u8> packed);

  // The key that the file with this status had when remember() was told.
  std::optional<std::string> recall(const struct stat& file) const;
  void remember(const struct stat& file, const std::string& key) const;

  std::optional<Entry> find(const std::string& key) const;
  // Stores a kernel, whole or not at all, and drops the oldest beyond kMaxEntries. Whether it is there now.
  bool store(const std::string& key, std::span<const u8> kernel) const;

  static constexpr std::size_t kMaxEntries = 8;

 private:
  explicit KernelCache(Fd directory) : directory_(std::move(directory)) {}
  void prune() const;

  Fd directory_;
};

// $XDG_CACHE_HOME/uvmm or ~/.cache/uvmm; empty if the environment has neither.
std::string default_kernel_cache_directory();

}  // namespace uvmm
