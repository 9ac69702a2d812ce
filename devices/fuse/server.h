// SPDX-License-Identifier: Apache-2.0
// Server: what all FUSE operations of one share work on. Request: one of them. I/O thread only; lives in the
// Fs.
#pragma once

#include <memory>

#include "devices/fuse/arguments.h"
#include "devices/fuse/files.h"
#include "devices/fuse/handle_table.h"
#include "devices/fuse/inode_table.h"
#include "devices/fuse/lock_table.h"
#include "devices/fuse/reply.h"
#include "devices/fuse/session.h"
#include "devices/fuse/share.h"
#include "vmm/base/descriptor_path.h"
#include "vmm/base/helper.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"

namespace uvmm::fuse {

// How much of the host's a guest may take up.
struct Limits {
  u32 nodes = 1 << 20;
  u32 handles = 512;  // descriptors of what it has open or locked
  u32 paths = 256;    // O_PATH descriptors of what it has looked at
};

struct Server {
  // The largest request without data, and the largest answer without.
  static constexpr u32 kMostArguments = 72 * 1024;
  static constexpr u32 kScratchBytes = 128 * 1024;

  Server(Io& door, Share directory, const Limits& limits, Log& messages);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Everything the guest knew or had open is gone.
  void forget_all();

  Io& io;
  Log& log;
  const Share share;
  InodeTable inodes;
  Files files;
  HandleTable handles;
  LockTable locks;
  Session session;
  Helper helper;
  // For what an operation reads of the host, or copies of its arguments; not beyond its end, nor over a wait.
  std::unique_ptr<u8[]> scratch;
  std::unique_ptr<u8[]> arguments;
};

struct Request {
  const fuse_in_header header;
  Node* node;           // of header.nodeid, for operations that have one; not to be used after a wait
  Arguments arguments;  // what follows the header; for those that wait, only what every such request has
  Segments& data;       // for those that wait: what follows `arguments`
  Reply& reply;
};

// 0, a count of no meaning, or -errno.
inline i32 result_of(long returned) {
  return returned < 0 ? -errno : static_cast<i32>(returned);
}

// Attributes as the guest sees them.
fuse_attr attributes_of(const Server& server, const Node& node, const struct statx& status);
// How long it may keep them, and names, without asking.
u64 seconds_valid(const Server& server);
// Looks at `name` in `parent` and answers with its node and attributes, for which it counts a lookup.
i32 reply_with_entry(Server& server, Request& request, Node& parent, Name name);
void fill_entry(const Server& server, const Node& parent, const Node& node, const Look& seen,
                fuse_entry_out& entry);

}  // namespace uvmm::fuse
