// SPDX-License-Identifier: Apache-2.0
// Files: the way from a node to the host's file and from the host's file to its node. Keeps a bounded number
// of O_PATH descriptors, of the nodes that were used last. I/O thread only; lives in the Server.
//
// Nothing is ever opened by more than one name in one directory, symlinks are never followed, and what comes
// out is the file that the node stands for, or an error: numbers, device and type are compared each time.
#pragma once

#include <optional>
#include <vector>

#include "devices/fuse/arguments.h"
#include "devices/fuse/inode_table.h"
#include "devices/fuse/share.h"

namespace uvmm::fuse {

// What a look at a file tells.
struct Look {
  struct statx status;
  Identity identity;
};

class Files final : private InodeTable::Listener {
 public:
  static constexpr u32 kLeastPaths = 4;

  // At most `most_paths` descriptors are kept, and at least kLeastPaths.
  Files(const Share& share, InodeTable& inodes, u32 most_paths);
  ~Files();

  // Enters the root into the table, which is empty. False: the host does not even answer for it.
  bool start();

  // A descriptor that stands for the node's file, with O_PATH or open for more, or -errno. It is good until
  // this has been called for another two nodes, or handles are closed.
  i32 path(Node& node);
  // Told of open descriptors of nodes, which do as well; -1 for none.
  void set_open_files(i32 (*find)(void*, const Node&), void* context) {
    find_open_ = find;
    find_open_context_ = context;
  }

  // A look at `name` in the directory `fd`, or with an empty name at `fd` itself.
  i32 look(int fd, const char* name, Look& result);
  // The node of what was seen as `name` in `parent`, whose descriptor is `parent_fd`, with one lookup more;
  // null if there are too many.
  Node* enter(Node& parent, int parent_fd, Name name, const Look& seen);
  // The same for what was seen in a listing of `parent`. Most of it is never used, so that it costs no file
  // handle before it is; until then it is found by its name.
  Node* enter_listed(Node& parent, Name name, const Look& seen);
  // The same for a file that has no name there, and is open.
  Node* enter_unnamed(int fd, const Look& seen);

  // The number that the guest sees. `submounts`: it makes mounts of its own of the host's.
  static u64 shown_number(const Node& node, bool submounts) {
    return submounts && !node.foreign ? node.identity.number
                                      : shown_number(node.identity.number, node.identity.place);
  }
  // That of a file of that place, in a guest that has it all in one mount.
  static u64 shown_number(u64 number, u32 place);

  u32 open_paths() const { return open_paths_; }

 private:
  struct Place {
    u64 mount;
    u32 device_major, device_minor;
    bool operator==(const Place&) const = default;
  };

  Identity identity_of(const struct statx& status);
  Node* node_of(const Look& seen);
  Node* node_in(const Node& parent, const Look& seen);
  bool locate_by_handle(Node& node, int fd, const char* name);
  i32 reopen(Node& node);
  i32 reopen_by_names(Node& node);
  bool is_it(int fd, const Node& node);
  void keep(Node& node, int fd);
  void use(Node& node);
  void drop(Node& node);
  void leave_list(Node& node);
  void node_goes(Node& node) override { drop(node); }

  const Share& share_;
  InodeTable& inodes_;
  const u32 most_paths_;
  u32 open_paths_ = 0;
  Slot newest_ = kNoSlot;
  Slot oldest_ = kNoSlot;
  std::vector<Place> places_;  // that were seen, the root's first; kept, so that numbers outlive a session
  u32 last_place_ = 0;
  i32 (*find_open_)(void*, const Node&) = nullptr;
  void* find_open_context_ = nullptr;
};

// Opens what is called `name` in `directory`; a symlink is opened itself or refused, never followed.
int open_beneath(int directory, const char* name, u64 flags, u32 mode = 0);

}  // namespace uvmm::fuse
