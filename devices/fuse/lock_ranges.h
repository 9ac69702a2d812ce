// SPDX-License-Identifier: Apache-2.0
// LockRanges: which bytes of a file one owner has locked, as the host's kernel keeps it, so that it can be
// told who waits for whom. A value; I/O thread only.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "devices/fuse/wire.h"

namespace uvmm::fuse {

class LockRanges {
 public:
  static constexpr u64 kMostOffset = std::numeric_limits<i64>::max();
  // One change makes at most so many of them more.
  static constexpr std::size_t kMostNew = 2;

  std::size_t size() const { return locks_.size(); }
  std::span<const fuse_file_lock> all() const { return locks_; }

  // As F_SETLK with lock.type: F_UNLCK included. Neighbours of one type become one.
  void set(const fuse_file_lock& lock) {
    fuse_file_lock set = lock;
    std::vector<fuse_file_lock> kept;
    for (const fuse_file_lock& old : locks_) {
      if (old.type == lock.type && adjoin(old, lock)) {
        set.start = std::min(set.start, old.start);
        set.end = std::max(set.end, old.end);
        continue;
      }
      if (!overlap(old, lock)) {
        kept.push_back(old);
        continue;
      }
      if (old.start < lock.start) kept.push_back({old.start, lock.start - 1, old.type, 0});
      if (old.end > lock.end) kept.push_back({lock.end + 1, old.end, old.type, 0});
    }
    if (lock.type != F_UNLCK) kept.push_back({set.start, set.end, lock.type, 0});
    locks_ = std::move(kept);
  }

  // Whether to unlock it leaves two ranges where there is one.
  bool split_by(const fuse_file_lock& unlock) const {
    return std::ranges::any_of(locks_, [&unlock](const fuse_file_lock& lock) {
      return lock.start < unlock.start && lock.end > unlock.end;
    });
  }

  // Whether another owner has to wait for this one.
  bool block(const fuse_file_lock& wish) const {
    for (const fuse_file_lock& lock : locks_) {
      if (overlap(lock, wish) && (lock.type == F_WRLCK || wish.type == F_WRLCK)) return true;
    }
    return false;
  }

 private:
  static bool overlap(const fuse_file_lock& a, const fuse_file_lock& b) {
    return a.start <= b.end && b.start <= a.end;
  }
  static bool adjoin(const fuse_file_lock& a, const fuse_file_lock& b) {
    return overlap(a, b) || a.end + 1 == b.start || b.end + 1 == a.start;
  }

  std::vector<fuse_file_lock> locks_;
};

}  // namespace uvmm::fuse
