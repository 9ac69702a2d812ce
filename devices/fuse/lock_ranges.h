// SPDX-License-Identifier: Apache-2.0
// LockRanges: which bytes of a file one owner has locked, as the host's kernel keeps it, so that it can be
// told who waits for whom. A value; I/O thread only.
#pragma once

#include <fcntl.h>

#include <vector>

#include "devices/fuse/wire.h"

namespace uvmm::fuse {

class LockRanges {
 public:
  static constexpr std::size_t kMost = 4096;

  // Whether one more change still fits.
  bool full() const { return locks_.size() + 2 > kMost; }

  // As F_SETLK with lock.type: F_UNLCK included.
  void set(const fuse_file_lock& lock) {
    std::vector<fuse_file_lock> kept;
    for (const fuse_file_lock& old : locks_) {
      if (!overlap(old, lock)) {
        kept.push_back(old);
        continue;
      }
      if (old.start < lock.start) kept.push_back({old.start, lock.start - 1, old.type, 0});
      if (old.end > lock.end) kept.push_back({lock.end + 1, old.end, old.type, 0});
    }
    if (lock.type != F_UNLCK) kept.push_back({lock.start, lock.end, lock.type, 0});
    locks_ = std::move(kept);
  }

  // Whether another owner has to wait for this one.
  bool block(const fuse_file_lock& wish) const {
    for (const fuse_file_lock& lock : locks_) {
      if (overlap(lock, wish) && (lock.type == F_WRLCK || wish.type == F_WRLCK)) return true;
    }
    return false;
  }

  bool empty() const { return locks_.empty(); }

 private:
  static bool overlap(const fuse_file_lock& a, const fuse_file_lock& b) {
    return a.start <= b.end && b.start <= a.end;
  }

  std::vector<fuse_file_lock> locks_;
};

}  // namespace uvmm::fuse
