// SPDX-License-Identifier: Apache-2.0
// Operations that look: names, attributes, what a symlink says.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

// A descriptor for a look at the node: of its handle, where the request names one.
i32 fd_for_look(Server& server, Request& request, u32 flags, u64 fh) {
  if (flags & FUSE_GETATTR_FH) {
    const Handle* handle = server.handles.find(fh, Handle::Kind::kFile, *request.node);
    if (!handle) handle = server.handles.find(fh, Handle::Kind::kDirectory, *request.node);
    return handle ? handle->fd.get() : -EBADF;
  }
  return server.files.path(*request.node);
}

}  // namespace

i32 lookup(Server& server, Request& request) {
  const auto name = request.arguments.last_name();
  if (!name) return name.error();
  const i32 found = reply_with_entry(server, request, *request.node, *name);
  if (found != -ENOENT || server.share.options.caching != Caching::kAlways) return found;
  // That there is no such file may be remembered, too: no node, for so long.
  fuse_entry_out absent{};
  absent.entry_valid = seconds_valid(server);
  request.reply.put(absent);
  return 0;
}

i32 forget(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_forget_in>();
  server.inodes.forget(*request.node, arguments->nlookup);
  return 0;
}

i32 batch_forget(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_batch_forget_in>();
  for (u32 i = 0; i < arguments->count; ++i) {
    const auto one = request.arguments.take<fuse_forget_one>();
    if (!one) break;
    Node* const node = server.inodes.find(one->nodeid);
    if (node) server.inodes.forget(*node, one->nlookup);
  }
  return 0;
}

i32 getattr(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_getattr_in>();
  const i32 fd = fd_for_look(server, request, arguments->getattr_flags, arguments->fh);
  if (fd < 0) return fd;
  Look seen;
  const i32 looked = server.files.look(fd, "", seen);
  if (looked < 0) return looked;
  request.reply.put(fuse_attr_out{.attr_valid = seconds_valid(server),
                                  .attr = attributes_of(server, *request.node, seen.status)});
  return 0;
}

i32 statx_node(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_statx_in>();
  const i32 fd = fd_for_look(server, request, arguments->getattr_flags, arguments->fh);
  if (fd < 0) return fd;
  Look seen;
  const i32 looked = server.files.look(fd, "", seen);
  if (looked < 0) return looked;
  const fuse_attr shown = attributes_of(server, *request.node, seen.status);
  fuse_statx_out out{.attr_valid = seconds_valid(server)};
  // Of the rest of it (mounts, alignments) the guest has its own.
  std::memcpy(&out.stat, &seen.status, offsetof(struct statx, stx_mnt_id));
  out.stat.stx_mask &= STATX_BASIC_STATS | STATX_BTIME;
  out.stat.stx_ino = shown.ino;
  out.stat.stx_uid = shown.uid;
  out.stat.stx_gid = shown.gid;
  request.reply.put(out);
  return 0;
}

// Linux guests check permissions themselves, by owner and mode.
i32 access(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_access_in>();
  if (arguments->mask & ~u32{R_OK | W_OK | X_OK}) return -EINVAL;
  if ((arguments->mask & W_OK) && server.share.options.read_only) return -EROFS;
  const i32 fd = server.files.path(*request.node);
  if (fd < 0) return fd;
  Look seen;
  const i32 looked = server.files.look(fd, "", seen);
  if (looked < 0) return looked;

  const fuse_attr shown = attributes_of(server, *request.node, seen.status);
  const fuse_in_header& caller = request.header;
  const u32 shift = caller.uid == shown.uid ? 6 : caller.gid == shown.gid ? 3 : 0;
  const bool root = caller.uid == 0;
  const u32 granted =
      root ? R_OK | W_OK | (S_ISDIR(shown.mode) || (shown.mode & 0111) ? X_OK : 0) : shown.mode >> shift & 7;
  return arguments->mask & ~granted ? -EACCES : 0;
}

i32 statfs(Server& server, Request& request) {
  const i32 fd = server.files.path(*request.node);
  if (fd < 0) return fd;
  struct statvfs status{};
  if (::fstatvfs(fd, &status) < 0) return -errno;
  request.reply.put(fuse_statfs_out{.st = {
                                        .blocks = status.f_blocks,
                                        .bfree = status.f_bfree,
                                        .bavail = status.f_bavail,
                                        .files = status.f_files,
                                        .ffree = status.f_ffree,
                                        .bsize = static_cast<u32>(status.f_bsize),
                                        .namelen = static_cast<u32>(status.f_namemax),
                                        .frsize = static_cast<u32>(status.f_frsize),
                                    }});
  return 0;
}

i32 readlink(Server& server, Request& request) {
  const i32 fd = server.files.path(*request.node);
  if (fd < 0) return fd;
  if (!S_ISLNK(request.node->identity.type)) return -EINVAL;
  auto* const target = reinterpret_cast<char*>(server.scratch.get());
  const u64 most = std::min<u64>(request.reply.room(), PATH_MAX);
  const i32 length = result_of(::readlinkat(fd, "", target, most));
  if (length < 0) return length;
  request.reply.put(std::span<const u8>(server.scratch.get(), static_cast<u32>(length)));
  return 0;
}

}  // namespace uvmm::fuse
