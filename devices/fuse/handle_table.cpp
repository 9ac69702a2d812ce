// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/handle_table.h"

namespace uvmm::fuse {

Handle& HandleTable::add(Node& node, Handle::Kind kind, Fd fd, u32 flags) {
  u32 index = free_;
  if (index != kNone) {
    free_ = handles_[index].next;
  } else {
    index = static_cast<u32>(handles_.size());
    handles_.emplace_back();
  }
  Handle& handle = handles_[index];
  handle.fd = std::move(fd);
  handle.kind = kind;
  handle.flags = flags;
  handle.index = index;
  handle.node = node.slot;
  handle.previous = kNone;
  handle.next = node.handle;
  if (node.handle != kNone) handles_[node.handle].previous = index;
  node.handle = index;
  inodes_.refer(node);
  take_descriptor();
  return handle;
}

Handle* HandleTable::find(u64 id, Handle::Kind kind, const Node& node) {
  const u32 index = static_cast<u32>(id);
  if (index >= handles_.size()) return nullptr;
  Handle& handle = handles_[index];
  const bool is_it =
      handle.kind == kind && !handle.released && handle.generation == id >> 32 && handle.node == node.slot;
  return is_it ? &handle : nullptr;
}

void HandleTable::release(Handle& handle) {
  if (handle.released) return;
  handle.released = true;
  Node& node = inodes_.at(handle.node);
  (handle.previous == kNone ? node.handle : handles_[handle.previous].next) = handle.next;
  if (handle.next != kNone) handles_[handle.next].previous = handle.previous;
  inodes_.release(node);
  remove_if_unused(handle);
}

void HandleTable::remove_if_unused(Handle& handle) {
  if (!handle.released || handle.uses > 0) return;
  handle.fd.reset();
  handle.part = {};
  handle.kind = Handle::Kind::kFree;
  handle.released = false;
  ++handle.generation;
  handle.next = free_;
  free_ = handle.index;
  give_descriptor_back();
}

void HandleTable::clear() {
  for (Handle& handle : handles_) {
    if (handle.kind != Handle::Kind::kFree) release(handle);
  }
}

}  // namespace uvmm::fuse
