// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/lock_table.h"

#include <algorithm>

#include "devices/fuse/server.h"

namespace uvmm::fuse {

LockTable::Owner* LockTable::find(const Node& node, u64 owner) {
  const auto found = owners_.find(node.slot);
  if (found == owners_.end()) return nullptr;
  for (Owner& candidate : found->second) {
    if (candidate.id == owner) return &candidate;
  }
  return nullptr;
}

LockTable::Owner* LockTable::find_or_open(const Share& share, Node& node, u64 owner, const Handle& handle) {
  if (Owner* const known = find(node, owner)) return known;
  if (handles_.full()) {
    errno = ENOLCK;
    return nullptr;
  }
  // A lock for writing needs a descriptor for writing.
  const DescriptorPath path(handle.fd.get());
  Fd fd;
  for (const int access : {O_RDWR, O_RDONLY, O_WRONLY}) {
    fd = Fd(::openat(share.descriptors.get(), path.number(), access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd) break;
  }
  if (!fd) return nullptr;
  std::list<Owner>& owners = owners_[node.slot];
  if (owners.empty()) inodes_.refer(node);
  handles_.take_descriptor();
  return &owners.emplace_back(Owner{.fd = std::move(fd), .id = owner});
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
bool LockTable::would_deadlock(Slot node, u64 owner, const fuse_file_lock& wish) const {
  struct Wait {
    Slot node;
    u64 owner;
    fuse_file_lock wish;
  };
  std::vector<Wait> open{{node, owner, wish}};
  std::vector<const Waiter*> seen;
  while (!open.empty()) {
    const Wait wait = open.back();
    open.pop_back();
    const auto found = owners_.find(wait.node);
    if (found == owners_.end()) continue;
    for (const Owner& other : found->second) {
      if (other.id == wait.owner || !other.ranges.block(wait.wish)) continue;
      if (other.id == owner) return true;
      for (const Waiter* const waiter : waiters_) {
        if (waiter->owner != other.id || std::ranges::count(seen, waiter) > 0) continue;
        seen.push_back(waiter);
        open.push_back({waiter->node, waiter->owner, waiter->wish});
      }
    }
  }
  return false;
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
  for (Waiter* const waiter : waiters_) waiter->interrupted |= waiter->unique == unique;
}

}  // namespace uvmm::fuse
