// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/inode_table.h"

#include <cstring>
#include <utility>

namespace uvmm::fuse {
namespace {

static_assert(InodeTable::kBytesPerNode <= 112);

constexpr u32 kLeastBuckets = 1024;
constexpr u32 kDeepest = 1024;  // directories in a row

u64 mix(u64 value) {
  value ^= value >> 32;
  value *= 0x9e3779b97f4a7c15;
  return value ^ value >> 29;
}

}  // namespace

InodeTable::InodeTable(u32 most) : most_(most) {
  buckets_.assign(kLeastBuckets, kNoSlot);
}

Slot& InodeTable::bucket(const Identity& identity) {
  const u64 hash = mix(identity.number ^ u64{identity.place} << 48);
  return buckets_[hash & (buckets_.size() - 1)];
}

Node* InodeTable::find(u64 id) {
  const Slot slot = static_cast<Slot>(id);
  if (slot < kRootSlot || slot >= end_) return nullptr;
  Node& node = at(slot);
  return node.used && node.lookups > 0 && node.generation == id >> 32 ? &node : nullptr;
}

Node* InodeTable::find(const Identity& identity) {
  for (Slot slot = bucket(identity); slot != kNoSlot; slot = at(slot).next) {
    if (at(slot).identity == identity) return &at(slot);
  }
  return nullptr;
}

Node* InodeTable::add(const Identity& identity) {
  if (full()) return nullptr;
  if (size_ >= buckets_.size()) grow();
  Slot slot = free_;
  if (slot != kNoSlot) {
    free_ = at(slot).next;
  } else {
    slot = end_++;
    if (slot / kChunk >= chunks_.size()) chunks_.push_back(std::make_unique<Chunk>());
  }
  Node& node = at(slot);
  node.slot = slot;
  node.identity = identity;
  node.used = true;
  link(node);
  ++size_;
  return &node;
}

void InodeTable::link(Node& node) {
  Slot& first = bucket(node.identity);
  node.next = first;
  first = node.slot;
}

void InodeTable::disown(Node& node) {
  for (Slot* link = &bucket(node.identity); *link != kNoSlot; link = &at(*link).next) {
    if (*link != node.slot) continue;
    *link = node.next;
    node.next = kNoSlot;
    return;
  }
}

void InodeTable::grow() {
  std::vector<Slot> old(buckets_.size() * 2, kNoSlot);
  old.swap(buckets_);
  for (Slot slot : old) {
    while (slot != kNoSlot) {
      Node& node = at(slot);
      slot = node.next;
      link(node);
    }
  }
}

void InodeTable::forget(Node& node, u64 lookups) {
  if (node.slot == kRootSlot) return;
  node.lookups -= lookups < node.lookups ? lookups : node.lookups;
  remove_if_unused(node);
}

void InodeTable::release(Node& node) {
  --node.references;
  remove_if_unused(node);
}

// A node that goes may have been the last that was found through its parent, and so on upwards.
void InodeTable::remove_if_unused(Node& unused) {
  Node* node = &unused;
  while (node && node->lookups == 0 && node->references == 0) {
    Node* const parent = node->parent == kNoSlot ? nullptr : &at(node->parent);
    if (parent) --parent->references;
    if (listener_) listener_->node_goes(*node);
    disown(*node);
    const u32 generation = node->generation + 1;  // so that an id that was forgotten never names another file
    const Slot slot = node->slot;
    *node = Node{};
    node->generation = generation;
    node->next = free_;
    free_ = slot;
    --size_;
    node = parent;
  }
}

void InodeTable::leave_parent(Node& node) {
  node.locator.reset();
  if (node.parent == kNoSlot) return;
  Node& parent = at(std::exchange(node.parent, kNoSlot));
  release(parent);
}

// Whether `parent` is found through `node`.
bool InodeTable::is_above(const Node& node, Node& parent) {
  const Node* ancestor = &parent;
  for (u32 depth = 0; depth < kDeepest; ++depth) {
    if (ancestor == &node) return true;
    if (ancestor->parent == kNoSlot) return false;
    ancestor = &at(ancestor->parent);
  }
  return true;
}

void InodeTable::locate(Node& node, Node& parent, std::string_view name) {
  if (node.slot == kRootSlot) return;
  if (node.parent == parent.slot && node.locator && name == node.locator.get()) return;
  // The host may have moved a directory into one that was below it. What says so is out of date.
  if ((node.identity.type & S_IFMT) == S_IFDIR && is_above(node, parent)) leave_parent(parent);
  refer(parent);
  leave_parent(node);
  node.parent = parent.slot;
  node.by_handle = false;
  node.locator = std::make_unique_for_overwrite<char[]>(name.size() + 1);
  std::memcpy(node.locator.get(), name.data(), name.size());
  node.locator[name.size()] = '\0';
}

void InodeTable::locate(Node& node, Locator handle) {
  leave_parent(node);
  node.by_handle = true;
  node.locator = std::move(handle);
}

void InodeTable::clear() {
  for (Slot slot = kRootSlot; slot < end_ && listener_; ++slot) {
    if (at(slot).used) listener_->node_goes(at(slot));
  }
  chunks_.clear();
  buckets_.assign(kLeastBuckets, kNoSlot);
  size_ = 0;
  free_ = kNoSlot;
  end_ = kRootSlot;
}

}  // namespace uvmm::fuse
