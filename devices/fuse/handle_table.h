// SPDX-License-Identifier: Apache-2.0
// HandleTable: what the guest has open. HandleUse: keeps a handle's descriptor open while the host works with
// it, though the guest may release the handle meanwhile. I/O thread only; lives in the Server.
#pragma once

#include <deque>

#include "devices/fuse/directory_part.h"
#include "devices/fuse/inode_table.h"
#include "vmm/base/fd.h"

namespace uvmm::fuse {

struct Handle {
  enum class Kind : u8 { kFree, kFile, kDirectory };

  Fd fd;
  Kind kind = Kind::kFree;
  bool released = false;  // by the guest; gone when `uses` is 0
  u32 flags = 0;          // that the guest opened it with
  u32 index = 0;          // its own
  u32 generation = 0;
  u32 uses = 0;
  u32 next = 0;      // of the same node, or free
  u32 previous = 0;  // of the same node
  Slot node = kNoSlot;
  DirectoryPart part;  // of a directory: what was read last

  u64 id() const { return u64{generation} << 32 | index; }
};

class HandleTable {
 public:
  static constexpr u32 kNone = ~u32{0};

  // Of `most` descriptors, which locks take, too.
  HandleTable(InodeTable& inodes, u32 most) : inodes_(inodes), most_(most) {}
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  // Whether there is room for one more descriptor.
  bool full() const { return descriptors_ >= most_; }
  void take_descriptor() { ++descriptors_; }
  void give_descriptor_back() { --descriptors_; }
  u32 descriptors() const { return descriptors_; }

  // One that is open for as long as this lives.
  class Descriptor {
   public:
    explicit Descriptor(HandleTable& table) : table_(table) { table_.take_descriptor(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { table_.give_descriptor_back(); }

   private:
    HandleTable& table_;
  };

  // Not when full(). `flags` are the guest's, of open().
  Handle& add(Node& node, Handle::Kind kind, Fd fd, u32 flags);
  // The guest's handle of that id, of that kind and of that node; null if it has none.
  Handle* find(u64 id, Handle::Kind kind, const Node& node);
  void release(Handle& handle);

  // An open descriptor of the node's file; -1 for none.
  i32 fd_of(const Node& node) const { return node.handle == kNone ? -1 : handles_[node.handle].fd.get(); }

  // As if all were released.
  void clear();

 private:
  friend class HandleUse;
  void remove_if_unused(Handle& handle);

  InodeTable& inodes_;
  const u32 most_;
  u32 descriptors_ = 0;
  u32 free_ = kNone;
  std::deque<Handle> handles_;
};

class HandleUse {
 public:
  HandleUse(HandleTable& table, Handle& handle) : table_(table), handle_(handle) { ++handle_.uses; }
  HandleUse(const HandleUse&) = delete;
  HandleUse& operator=(const HandleUse&) = delete;
  ~HandleUse() {
    --handle_.uses;
    table_.remove_if_unused(handle_);
  }
  int fd() const { return handle_.fd.get(); }

 private:
  HandleTable& table_;
  Handle& handle_;
};

}  // namespace uvmm::fuse
