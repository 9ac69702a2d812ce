// SPDX-License-Identifier: Apache-2.0
// LockTable: POSIX locks of the guest's processes. Each owner has a descriptor of its own for each file, and
// its locks are that descriptor's (F_OFD_SETLK), so that owners exclude each other and the host's processes.
// I/O thread only; lives in the Server.
#pragma once

#include <fcntl.h>

#include <list>
#include <unordered_map>

#include "devices/fuse/handle_table.h"
#include "devices/fuse/lock_ranges.h"
#include "devices/fuse/share.h"

namespace uvmm::fuse {

class LockTable {
 public:
  static constexpr std::size_t kMostRanges = 16 * 1024;

  LockTable(HandleTable& handles, InodeTable& inodes) : handles_(handles), inodes_(inodes) {}

  struct Owner {
    Fd fd;
    u32 pid = 0;  // that it last asked with
    u64 id = 0;
    LockRanges ranges;
  };
  // The owner's descriptor for the node's file, made of `handle`, which is open; null if it cannot be had,
  // and then errno says why.
  Owner* find_or_open(const Share& share, Node& node, u64 owner, const Handle& handle);
  Owner* find(const Node& node, u64 owner);
  // Whether all owners' ranges together take one more change.
  bool full() const { return ranges_ + LockRanges::kMostNew > kMostRanges; }
  // The host has given the owner that lock, or taken it.
  void set(Owner& owner, const fuse_file_lock& lock);
  // The process of another owner that has such a lock as `wish` has to wait for, or 0.
  u32 blocking_pid(const Node& node, u64 owner, const fuse_file_lock& wish) const;
  // Whether `owner`, should it wait for `wish`, would wait for itself in the end.
  bool would_deadlock(Slot node, u64 owner, const fuse_file_lock& wish) const;

  // The owner closed a descriptor of the file; the file is not open any more; nothing is.
  void release(Node& node, u64 owner);
  void release_all(Node& node);
  void clear();

  // A request that waits for a lock, listed for as long as it does.
  class Waiter {
   public:
    Waiter(LockTable& table, u64 request, Slot file, u64 waiting, const fuse_file_lock& lock)
        : unique(request), node(file), owner(waiting), wish(lock), table_(table) {
      table_.waiters_.push_back(this);
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { table_.waiters_.remove(this); }
    const u64 unique;
    const Slot node;
    const u64 owner;
    const fuse_file_lock wish;
    bool interrupted = false;

   private:
    LockTable& table_;
  };
  void interrupt(u64 unique);

 private:
  void owner_goes(const Owner& owner);

  HandleTable& handles_;
  InodeTable& inodes_;
  std::unordered_map<Slot, std::list<Owner>> owners_;
  std::list<Waiter*> waiters_;
  std::size_t ranges_ = 0;
};

}  // namespace uvmm::fuse
