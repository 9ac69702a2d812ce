// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/lock_table.h"

#include <algorithm>

#include "devices/fuse/server.h"

namespace uvmm::fuse {

struct flock host_lock(const fuse_file_lock& lock) {
  struct flock host{};
  host.l_type = static_cast<short>(lock.type);
  host.l_whence = SEEK_SET;
  host.l_start = static_cast<off_t>(lock.start);
  host.l_len = lock.end == LockRanges::kMostOffset ? 0 : static_cast<off_t>(lock.end - lock.start + 1);
  return host;
}

LockTable::Owner* LockTable::find(const Node& node, u64 owner) {
  const auto found = owners_.find(node.slot);
  if (found == owners_.end()) return nullptr;
  for (Owner& candidate : found->second) {
    if (candidate.id == owner) return &candidate;
  }
  return nullptr;
}

LockTable::Owner* LockTable::find_or_open(const Share& share, Node& node, u64 owner, const Handle& handle) {
  // A lock for writing needs a descriptor for writing, and nothing else does.
  const bool for_writing = (::fcntl(handle.fd.get(), F_GETFL) & O_ACCMODE) != O_RDONLY;
  Owner* const known = find(node, owner);
  if (known && (known->writable || !for_writing)) return known;
  if (handles_.full()) {
    errno = ENOLCK;
    return nullptr;
  }
  const DescriptorPath path(handle.fd.get());
  Fd fd;
  bool writable = false;
  for (const int access : {O_RDWR, O_RDONLY, O_WRONLY}) {
    writable = access != O_RDONLY;
    if (writable && !for_writing) continue;
    fd = Fd(::openat(share.descriptors.get(), path.number(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd) break;
  }
  if (!fd) return nullptr;
  if (known && !writable) return known;
  if (known) return move_to(*known, std::move(fd)) ? known : nullptr;
  std::list<Owner>& owners = owners_[node.slot];
  if (owners.empty()) inodes_.refer(node);
  handles_.take_descriptor();
  return &owners.emplace_back(Owner{.fd = std::move(fd), .writable = writable, .id = owner});
}

// Such locks as the owner has, all for reading, two descriptors may have at once: nobody gets in between.
bool LockTable::move_to(Owner& owner, Fd writable) {
  for (const fuse_file_lock& lock : owner.ranges.all()) {
    struct flock host = host_lock(lock);
    if (::fcntl(writable.get(), F_OFD_SETLK, &host) < 0) return false;
  }
  owner.fd = std::move(writable);
  owner.writable = true;
  return true;
}

void LockTable::set(Owner& owner, const fuse_file_lock& lock) {
  ranges_ -= owner.ranges.size();
  owner.ranges.set(lock);
  ranges_ += owner.ranges.size();
}

void LockTable::owner_goes(const Owner& owner) {
  ranges_ -= owner.ranges.size();
  handles_.give_descriptor_back();
}

u32 LockTable::blocking_pid(const Node& node, u64 owner, const fuse_file_lock& wish) const {
  const auto found = owners_.find(node.slot);
  if (found == owners_.end()) return 0;
  for (const Owner& other : found->second) {
    if (other.id != owner && other.ranges.block(wish)) return other.pid;
  }
  return 0;
}

// From whom it would wait for to whom these wait for, and so on; each waiting request is looked at once.
bool LockTable::would_deadlock(Slot node, u64 owner, const fuse_file_lock& wish) {
  struct Wait {
    Slot node;
    u64 owner;
    fuse_file_lock wish;
  };
  std::vector<Wait> open{{node, owner, wish}};
  ++searches_;
  for (std::size_t compared = 0; !open.empty() && compared < kMostCompared;) {
    const Wait wait = open.back();
    open.pop_back();
    const auto found = owners_.find(wait.node);
    if (found == owners_.end()) continue;
    for (const Owner& other : found->second) {
      compared += 1 + other.ranges.size();
      if (other.id == wait.owner || !other.ranges.block(wait.wish)) continue;
      if (other.id == owner) return true;
      const auto [first, last] = waiters_.equal_range(other.id);
      for (const auto& [id, waiter] : std::ranges::subrange(first, last)) {
        ++compared;
        if (std::exchange(waiter->search_, searches_) == searches_) continue;
        open.push_back({waiter->node, waiter->owner, waiter->wish});
      }
    }
  }
  return false;
}

void LockTable::waiter_goes(const Waiter& waiter) {
  const auto [first, last] = waiters_.equal_range(waiter.owner);
  waiters_.erase(std::find_if(first, last, [&waiter](const auto& one) { return one.second == &waiter; }));
}

void LockTable::release(Node& node, u64 owner) {
  const auto found = owners_.find(node.slot);
  if (found == owners_.end()) return;
  const auto gone = std::ranges::find(found->second, owner, &Owner::id);
  if (gone == found->second.end()) return;
  owner_goes(*gone);
  found->second.erase(gone);
  if (!found->second.empty()) return;
  owners_.erase(found);
  inodes_.release(node);
}

void LockTable::release_all(Node& node) {
  const auto found = owners_.find(node.slot);
  if (found == owners_.end()) return;
  for (const Owner& owner : found->second) owner_goes(owner);
  owners_.erase(found);
  inodes_.release(node);
}

void LockTable::clear() {
  while (!owners_.empty()) release_all(inodes_.at(owners_.begin()->first));
}

void LockTable::interrupt(u64 unique) {
  for (const auto& [owner, waiter] : waiters_) waiter->interrupted |= waiter->unique == unique;
}

}  // namespace uvmm::fuse
