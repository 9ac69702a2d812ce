// SPDX-License-Identifier: Apache-2.0
// InodeTable: the files that the guest knows, by id and by what identifies them on the host. I/O thread only;
// lives in the Server.
//
// A node is kept while the guest has looked it up more often than it has forgotten it, or something here
// refers to it (an open handle, or nodes that are found through it). It takes kBytesPerNode and its locator,
// however large the file is: 125 bytes, as measured with a million of them.
#pragma once

#include <array>
#include <memory>
#include <string_view>
#include <vector>

#include "devices/fuse/wire.h"

namespace uvmm::fuse {

using Slot = u32;
inline constexpr Slot kNoSlot = ~Slot{0};
inline constexpr Slot kRootSlot = 1;  // so that the root's id is FUSE_ROOT_ID

// What makes a file this one and no other. Numbers are used again once a file is gone; the time of birth
// tells the two apart, where the file system keeps it.
struct Identity {
  u64 number = 0;   // st_ino
  u64 born_ns = 0;  // 0 if unknown
  u32 place = 0;    // which mount and device: see Places
  u32 type = 0;     // S_IFMT's bits
  bool operator==(const Identity&) const = default;
};

// How to find a file again when no descriptor of it is at hand: a file handle, or a name in the node's
// parent.
using Locator = std::unique_ptr<char[]>;

struct Node {
  Identity identity;
  u64 lookups = 0;     // that the guest has not forgotten
  u64 kept_ctime = 0;  // of the content that the guest may still have in its cache; 0: unknown
  Locator locator;
  Slot slot = kNoSlot;  // its own
  u32 generation = 0;
  u32 references = 0;     // from nodes whose parent it is, and from open handles
  i32 path_fd = -1;       // an O_PATH descriptor, if the PathCache has one
  Slot parent = kNoSlot;  // for a locator that is a name
  Slot next = kNoSlot;    // of the same bucket, or free
  Slot newer = kNoSlot;   // in the PathCache
  Slot older = kNoSlot;
  u32 handle = ~u32{0};  // an open handle of it, if there is one
  bool used = false;
  bool by_handle = false;  // what the locator is
  bool foreign = false;    // a file that is a mount point: its parent may have another of the same number

  u64 id() const { return u64{generation} << 32 | slot; }
};

class InodeTable {
 public:
  static constexpr u64 kBytesPerNode = sizeof(Node) + 2 * sizeof(Slot);  // with its share of the buckets

  explicit InodeTable(u32 most);

  Node& at(Slot slot) { return (*chunks_[slot / kChunk])[slot % kChunk]; }
  // The node that the guest calls so, if it knows one.
  Node* find(u64 id);
  Node* find(const Identity& identity);

  // Whether there are as many as there may be.
  bool full() const { return size_ >= most_; }
  // A new one; null if full().
  Node* add(const Identity& identity);
  // Another file has its number now: it is found by its id only.
  void disown(Node& node);

  static void count_lookup(Node& node) { node.lookups += node.lookups != ~u64{0}; }
  // The guest forgets so many lookups of it; more than there are counts as all. The root stays.
  void forget(Node& node, u64 lookups);
  // Removes it if nobody knows it: one that was added and then not given to the guest.
  void remove_if_unused(Node& node);

  void refer(Node& node) { ++node.references; }
  void release(Node& node);

  // From now on `node` is found in `parent` by `name`; or by a file handle, a struct file_handle.
  void locate(Node& node, Node& parent, std::string_view name);
  void locate(Node& node, Locator handle);

  // Has the last look at a node that goes away.
  class Listener {
   public:
    virtual void node_goes(Node& node) = 0;

   protected:
    ~Listener() = default;
  };
  void set_listener(Listener* listener) { listener_ = listener; }

  u32 size() const { return size_; }
  void clear();

 private:
  static constexpr u32 kChunk = 1024;
  using Chunk = std::array<Node, kChunk>;

  Slot& bucket(const Identity& identity);
  void link(Node& node);
  void grow();
  void leave_parent(Node& node);
  bool is_above(const Node& node, Node& parent);

  const u32 most_;
  u32 size_ = 0;
  Slot free_ = kNoSlot;
  Slot end_ = kRootSlot;  // no slot from here on was ever used
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<Slot> buckets_;  // a power of two
  Listener* listener_ = nullptr;
};

}  // namespace uvmm::fuse
