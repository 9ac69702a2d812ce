// SPDX-License-Identifier: Apache-2.0
// Operations that change which names there are, and make no file.
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <unistd.h>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

i32 remove(Server& server, Request& request, int flags) {
  const auto name = request.arguments.last_name();
  if (!name) return name.error();
  const i32 parent_fd = server.files.path(*request.node);
  if (parent_fd < 0) return parent_fd;
  return result_of(::unlinkat(parent_fd, name->c_str(), flags));
}

// What is now called `name` in `parent`: should it be found by its name, then by this one.
void learn_name(Server& server, Node& parent, int parent_fd, Name name) {
  Look seen;
  if (server.files.look(parent_fd, name.c_str(), seen) < 0) return;
  Node* const node = server.inodes.find(seen.identity);
  if (node && !node->by_handle) server.inodes.locate(*node, parent, name.text());
}

i32 move(Server& server, Request& request, u64 new_parent_id, u32 flags) {
  const auto old_name = request.arguments.take_name();
  if (!old_name) return old_name.error();
  const auto new_name = request.arguments.last_name();
  if (!new_name) return new_name.error();
  if (flags & ~u32{RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT}) return -EINVAL;

  Node* const new_parent = server.inodes.find(new_parent_id);
  if (!new_parent) return -ESTALE;
  const i32 old_fd = server.files.path(*request.node);
  if (old_fd < 0) return old_fd;
  const i32 new_fd = server.files.path(*new_parent);
  if (new_fd < 0) return new_fd;
  i32 moved;
  {
    // With RENAME_WHITEOUT something is created.
    const CreationScope scope(server.share.owners, request.header, 0);
    if (!scope && (flags & RENAME_WHITEOUT)) return -EPERM;
    moved = result_of(::renameat2(old_fd, old_name->c_str(), new_fd, new_name->c_str(), flags));
  }
  if (moved < 0) return moved;
  learn_name(server, *new_parent, new_fd, *new_name);
  if (flags & RENAME_EXCHANGE) learn_name(server, *request.node, old_fd, *old_name);
  return 0;
}

}  // namespace

i32 unlink(Server& server, Request& request) {
  return remove(server, request, 0);
}

i32 rmdir(Server& server, Request& request) {
  return remove(server, request, AT_REMOVEDIR);
}

i32 rename(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_rename_in>();
  return move(server, request, arguments->newdir, 0);
}

i32 rename2(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_rename2_in>();
  return move(server, request, arguments->newdir, arguments->flags);
}

i32 link(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_link_in>();
  const auto name = request.arguments.last_name();
  if (!name) return name.error();
  Node* const file = server.inodes.find(arguments->oldnodeid);
  if (!file) return -ESTALE;
  const i32 file_fd = server.files.path(*file);
  if (file_fd < 0) return file_fd;
  const i32 parent_fd = server.files.path(*request.node);
  if (parent_fd < 0) return parent_fd;
  // By number and not with AT_EMPTY_PATH, which takes a privilege.
  if (::linkat(server.share.descriptors.get(), DescriptorPath(file_fd).number(), parent_fd, name->c_str(),
               AT_SYMLINK_FOLLOW) < 0)
    return -errno;
  return reply_with_entry(server, request, *request.node, *name);
}

}  // namespace uvmm::fuse
