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

// As the host's kernel takes it.
struct flock host_lock(const fuse_file_lock& lock);

class LockTable {
 public:
  static constexpr std::size_t kMostRanges = 16 * 1024;
  static constexpr std::size_t kMostCompared = 16 * 1024;  // in one search for a deadlock

  LockTable(HandleTable& handles, InodeTable& inodes) : handles_(handles), inodes_(inodes) {}

  struct Owner {
    Fd fd;
    bool writable = false;
    u32 pid = 0;  // that it last asked with
    u64 id = 0;
    LockRanges ranges;
  };
  // The owner's descriptor for the node's file, open for writing if `handle` is, of which it is made; null if
  // it cannot be had, and then errno says why.
  Owner* find_or_open(const Share& share, Node& node, u64 owner, const Handle& handle);
  Owner* find(const Node& node, u64 owner);
  // Whether all owners' ranges together take that change of one's.
  bool has_room(const Owner& owner, const fuse_file_lock& lock) const {
    if (ranges_ + LockRanges::kMostNew <= kMostRanges) return true;
    return lock.type == F_UNLCK && !owner.ranges.split_by(lock);
  }
  // The host has given the owner that lock, or taken it.
  void set(Owner& owner, const fuse_file_lock& lock);
  // The process of another owner that has such a lock as `wish` has to wait for, or 0.
  u32 blocking_pid(const Node& node, u64 owner, const fuse_file_lock& wish) const;
  // Whether `owner`, should it wait for `wish`, would wait for itself in the end. Not found if too many locks
  // are in between; then it waits, and can be interrupted.
  bool would_deadlock(Slot node, u64 owner, const fuse_file_lock& wish);

  // The owner closed a descriptor of the file; the file is not open any more; nothing is.
  void release(Node& node, u64 owner);
  void release_all(Node& node);
  void clear();

  // A request that waits for a lock, listed for as long as it does.
  class Waiter {
   public:
    Waiter(LockTable& table, u64 request, Slot file, u64 waiting, const fuse_file_lock& lock)
        : unique(request), node(file), owner(waiting), wish(lock), table_(table) {
      table_.waiters_.emplace(waiting, this);
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { table_.waiter_goes(*this); }
    const u64 unique;
    const Slot node;
    const u64 owner;
    const fuse_file_lock wish;
    bool interrupted = false;

   private:
    friend class LockTable;
    LockTable& table_;
    u64 search_ = 0;  // the last that has seen it
  };
  void interrupt(u64 unique);

 private:
  static bool move_to(Owner& owner, Fd writable);
  void owner_goes(const Owner& owner);
  void waiter_goes(const Waiter& waiter);

  HandleTable& handles_;
  InodeTable& inodes_;
  std::unordered_map<Slot, std::list<Owner>> owners_;
  std::unordered_multimap<u64, Waiter*> waiters_;  // by owner
  u64 searches_ = 0;
  std::size_t ranges_ = 0;
};

}  // namespace uvmm::fuse
