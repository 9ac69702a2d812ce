// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/server.h"

#include <sys/sysmacros.h>

namespace uvmm::fuse {
namespace {

// As the kernel encodes device numbers for user space (new_encode_dev).
u32 encode_device(u32 major, u32 minor) {
  return (minor & 0xff) | major << 8 | (minor & ~u32{0xff}) << 12;
}

}  // namespace

Server::Server(Io& door, Share directory, const Limits& limits, Log& messages)
    : io(door),
      log(messages),
      share(std::move(directory)),
      inodes(limits.nodes),
      files(share, inodes, limits.paths),
      handles(inodes, limits.handles),
      locks(handles, inodes),
      scratch(std::make_unique_for_overwrite<u8[]>(kScratchBytes)),
      arguments(std::make_unique_for_overwrite<u8[]>(kMostArguments)) {
  files.set_open_files(
      [](void* table, const Node& node) { return static_cast<HandleTable*>(table)->fd_of(node); }, &handles);
}

void Server::forget_all() {
  locks.clear();
  handles.clear();
  inodes.clear();
  session.end();
}

u64 seconds_valid(const Server& server) {
  switch (server.share.options.caching) {
    case Caching::kNever:
      return 0;
    case Caching::kAuto:
      return 1;
    case Caching::kAlways:
      return 24 * 60 * 60;
  }
  return 0;
}

fuse_attr attributes_of(const Server& server, const Node& node, const struct statx& status) {
  const Ids ids = server.share.owners.shown({status.stx_uid, status.stx_gid});
  return {
      .ino = server.files.shown_number(node, server.session.has(FUSE_SUBMOUNTS)),
      .size = status.stx_size,
      .blocks = status.stx_blocks,
      .atime = static_cast<u64>(status.stx_atime.tv_sec),
      .mtime = static_cast<u64>(status.stx_mtime.tv_sec),
      .ctime = static_cast<u64>(status.stx_ctime.tv_sec),
      .atimensec = status.stx_atime.tv_nsec,
      .mtimensec = status.stx_mtime.tv_nsec,
      .ctimensec = status.stx_ctime.tv_nsec,
      .mode = status.stx_mode,
      .nlink = status.stx_nlink,
      .uid = ids.uid,
      .gid = ids.gid,
      .rdev = encode_device(status.stx_rdev_major, status.stx_rdev_minor),
      .blksize = status.stx_blksize,
      .flags = 0,
  };
}

void fill_entry(const Server& server, const Node& parent, const Node& node, const Look& seen,
                fuse_entry_out& entry) {
  entry = {};
  entry.nodeid = node.id();
  entry.entry_valid = entry.attr_valid = seconds_valid(server);
  entry.attr = attributes_of(server, node, seen.status);
  // The guest then makes it a mount of its own, with its own device number, so that inode numbers may be the
  // host's.
  if (S_ISDIR(node.identity.type) && node.identity.place != parent.identity.place &&
      server.session.has(FUSE_SUBMOUNTS))
    entry.attr.flags |= FUSE_ATTR_SUBMOUNT;
}

i32 reply_with_entry(Server& server, Request& request, Node& parent, Name name) {
  const i32 parent_fd = server.files.path(parent);
  if (parent_fd < 0) return parent_fd;
  Look seen;
  const i32 looked = server.files.look(parent_fd, name.c_str(), seen);
  if (looked < 0) return looked;
  const Node* const node = server.files.enter(parent, parent_fd, name, seen);
  if (!node) return -ENFILE;
  fuse_entry_out entry;
  fill_entry(server, parent, *node, seen, entry);
  request.reply.put(entry);
  return 0;
}

}  // namespace uvmm::fuse
