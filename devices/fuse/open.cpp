// SPDX-License-Identifier: Apache-2.0
// Handles: opening, releasing.
#include <fcntl.h>
#include <sys/stat.h>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

bool wants_to_write(u32 flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

i32 release_handle(Server& server, Request& request, Handle::Kind kind) {
  const auto arguments = request.arguments.take<fuse_release_in>();
  Handle* const handle = server.handles.find(arguments->fh, kind, *request.node);
  if (!handle) return -EBADF;
  const bool last = handle->next == HandleTable::kNone && handle->previous == HandleTable::kNone;
  if (last) server.locks.release_all(*request.node);
  server.handles.release(*handle);  // and with the descriptor goes a lock of flock()
  return 0;
}

u64 nanoseconds(const struct statx_timestamp& time) {
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

u32 host_open_flags(const Server& server, u32 flags) {
  // Not O_APPEND: where a write goes is said with each of them, since pages that the guest writes back may
  // come by any handle. Not O_DIRECT, whose alignment only the guest's own cache is to know. Not O_NOATIME,
  // which is for owners. Not what creates, names kinds of files or follows.
  u32 kept = flags & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC);
  if ((kept & O_ACCMODE) == O_ACCMODE) kept = (kept & ~u32{O_ACCMODE}) | O_RDWR;
  // A guest that gathers writes reads the rest of a page that is written in part.
  if (server.session.has(FUSE_WRITEBACK_CACHE) && (kept & O_ACCMODE) == O_WRONLY)
    kept = (kept & ~u32{O_ACCMODE}) | O_RDWR;
  // So that nobody's lease on the file makes this thread wait. For regular files it has no other effect.
  return kept | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
}

i32 open_node(Server& server, Node& node, u32 flags) {
  const u32 type = node.identity.type;
  if (type == S_IFLNK) return -ELOOP;
  if (type != S_IFREG && type != S_IFDIR) return -EPERM;  // to open a device may do anything
  if (type == S_IFDIR && wants_to_write(flags)) return -EISDIR;
  const i32 path = server.files.path(node);
  if (path < 0) return path;
  return result_of(::openat(server.share.descriptors.get(), DescriptorPath(path).number(), flags));
}

i32 open_file(Server& server, Node& node, u32 flags, u32 open_flags, Fd& fd) {
  const u32 host_flags = host_open_flags(server, flags);
  i32 opened = open_node(server, node, host_flags);
  // chattr +a: the host lets nobody write to it but at its end, wherever the guest says.
  if (opened == -EPERM && (flags & O_APPEND)) opened = open_node(server, node, host_flags | O_APPEND);
  fd = Fd(opened);
  if (!fd) return fd.get();
  return (flags & O_TRUNC) && (open_flags & FUSE_OPEN_KILL_SUIDGID) ? drop_set_ids(fd.get()) : 0;
}

u32 new_caching_flags(const Server& server) {
  switch (server.share.options.caching) {
    case Caching::kNever:
      return FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    case Caching::kAlways:
      return FOPEN_KEEP_CACHE;
    case Caching::kAuto:
      return 0;
  }
  return 0;
}

u32 caching_flags(Server& server, Node& node, int fd) {
  if (server.share.options.caching != Caching::kAuto) return new_caching_flags(server);
  // The guest keeps what it has of the file if nobody has changed it since it was last opened. A change so
  // recent that another one may bear the same time counts as none that is known.
  constexpr u64 kTick = 20'000'000;
  struct statx status{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_CTIME, &status) < 0) return 0;
  const u64 changed = nanoseconds(status.stx_ctime);
  const bool unchanged = node.kept_ctime == changed;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  const u64 settled = static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
  node.kept_ctime = changed + kTick < settled ? changed : 0;
  return unchanged ? FOPEN_KEEP_CACHE : 0;
}

i32 open(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_open_in>();
  if (server.share.options.read_only && wants_to_write(arguments->flags)) return -EROFS;
  if (S_ISDIR(request.node->identity.type)) return -EISDIR;
  if (server.handles.full()) return -ENFILE;
  Fd fd;
  const i32 opened = open_file(server, *request.node, arguments->flags, arguments->open_flags, fd);
  if (opened < 0) return opened;
  const u32 flags = caching_flags(server, *request.node, fd.get());
  const Handle& handle =
      server.handles.add(*request.node, Handle::Kind::kFile, std::move(fd), arguments->flags);
  request.reply.put(fuse_open_out{.fh = handle.id(), .open_flags = flags});
  return 0;
}

i32 opendir(Server& server, Request& request) {
  if (!S_ISDIR(request.node->identity.type)) return -ENOTDIR;
  if (server.handles.full()) return -ENFILE;
  constexpr u32 kFlags = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC;
  Fd fd(open_node(server, *request.node, kFlags));
  if (!fd) return fd.get();
  const Handle& handle = server.handles.add(*request.node, Handle::Kind::kDirectory, std::move(fd), kFlags);
  const bool always = server.share.options.caching == Caching::kAlways;
  request.reply.put(
      fuse_open_out{.fh = handle.id(), .open_flags = always ? u32{FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE} : 0});
  return 0;
}

i32 release(Server& server, Request& request) {
  return release_handle(server, request, Handle::Kind::kFile);
}

i32 releasedir(Server& server, Request& request) {
  return release_handle(server, request, Handle::Kind::kDirectory);
}

// A process of the guest closed a descriptor: POSIX takes all its locks on the file away.
i32 flush(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_flush_in>();
  if (!server.handles.find(arguments->fh, Handle::Kind::kFile, *request.node)) return -EBADF;
  server.locks.release(*request.node, arguments->lock_owner);
  return 0;
}

}  // namespace uvmm::fuse
