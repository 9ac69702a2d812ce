// SPDX-License-Identifier: Apache-2.0
// Operations on what is in a file. The host reads and writes the guest's buffers directly.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

constexpr u64 kMostOffset = std::numeric_limits<i64>::max();
constexpr u64 kMostAtOnce = 64_KiB;   // in a write that is not submitted
constexpr u64 kMostCopied = 128_MiB;  // in one request: the guest asks for the rest

// What is left of a read or write.
struct Transfer {
  int fd;
  Segments& buffers;
  u64 offset;
  u32 flags;  // RWF_*
  bool is_write;
  bool at_once = false;  // a write that need not be submitted
};

OpAwaiter attempt(Io& io, const Transfer& transfer) {
  const std::span<const iovec> buffers = transfer.buffers.iovecs();
  return transfer.is_write ? io.writev(transfer.fd, buffers, transfer.offset, transfer.flags)
                           : io.readv(transfer.fd, buffers, transfer.offset);
}

// Goes on until all is done, or the host does no more. How much it was, or -errno if it was nothing.
Task<i64> run(Io& io, Transfer transfer) {
  constexpr u32 kMostRefusals = 8;
  constexpr u64 kPause = 1'000'000;  // nanoseconds
  i64 total = 0;
  for (u32 refusals = 0; !transfer.buffers.empty();) {
    i32 done = -EAGAIN;
    if (std::exchange(transfer.at_once, false))
      done = io.writev_now(transfer.fd, transfer.buffers.iovecs(), transfer.offset, transfer.flags);
    if (done == -EAGAIN) {
      const i32 submitted = co_await attempt(io, transfer);
      done = submitted;
    }
    if (done == -EAGAIN || done == -EINTR) {
      if (++refusals > kMostRefusals) co_return total > 0 ? total : -EIO;
      co_await io.sleep(kPause);
      continue;
    }
    if (done <= 0) co_return total > 0 ? total : done;
    total += done;
    transfer.offset += static_cast<u64>(done);
    transfer.buffers.drop_front(static_cast<u64>(done));
  }
  co_return total;
}

struct Copy final : Helper::Job {
  i32 call() override { return result_of(::copy_file_range(from, &from_offset, to, &to_offset, bytes, 0)); }
  int from, to;
  off_t from_offset, to_offset;
  u64 bytes;
};

struct SyncAll final : Helper::Job {
  i32 call() override { return result_of(::syncfs(fd)); }
  int fd;
};

// Before a change of content of which the guest does not say whether its caller may leave them (CAP_FSETID):
// root may.
i32 drop_set_ids_for(const fuse_in_header& caller, int fd) {
  return caller.uid == 0 ? 0 : drop_set_ids(fd);
}

Task<i32> sync_handle(Server& server, Request& request, Handle::Kind kind) {
  const auto arguments = request.arguments.take<fuse_fsync_in>();
  Handle* const handle = server.handles.find(arguments->fh, kind, *request.node);
  if (!handle) co_return -EBADF;
  const HandleUse use(server.handles, *handle);
  const int fd = use.fd();
  if (arguments->fsync_flags & FUSE_FSYNC_FDATASYNC) {
    const i32 done = co_await server.io.fdatasync(fd);
    co_return done;
  }
  const i32 done = co_await server.io.fsync(fd);
  co_return done;
}

}  // namespace

Task<i32> read(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_read_in>();
  Handle* const handle = server.handles.find(arguments->fh, Handle::Kind::kFile, *request.node);
  if (!handle) co_return -EBADF;
  if (arguments->offset > kMostOffset) co_return -EINVAL;
  const HandleUse use(server.handles, *handle);
  Segments& buffers = request.reply.body();
  buffers.truncate(std::min(arguments->size, Session::kMostBytes));
  const Transfer transfer{use.fd(), buffers, arguments->offset, 0, false};
  const i64 done = co_await run(server.io, transfer);
  if (done < 0) co_return static_cast<i32>(done);
  request.reply.add_written(static_cast<u32>(done));
  co_return 0;
}

Task<i32> write(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_write_in>();
  Handle* const handle = server.handles.find(arguments->fh, Handle::Kind::kFile, *request.node);
  if (!handle) co_return -EBADF;
  const u64 bytes = arguments->size;
  if (bytes != request.data.size() || bytes > Session::kMostBytes) co_return -EINVAL;
  if (arguments->offset > kMostOffset - bytes) co_return -EFBIG;
  const HandleUse use(server.handles, *handle);
  if (arguments->write_flags & FUSE_WRITE_KILL_SUIDGID) {
    const i32 dropped = drop_set_ids(use.fd());
    if (dropped < 0) co_return dropped;
  }
  // Appended by the host, so that guests that append to one file do not overwrite each other. What comes out
  // of a cache knows where it belongs.
  const bool appends = (arguments->flags & O_APPEND) && !(arguments->write_flags & FUSE_WRITE_CACHE) &&
                       !server.session.has(FUSE_WRITEBACK_CACHE);
  const Transfer transfer{.fd = use.fd(),
                          .buffers = request.data,
                          .offset = arguments->offset,
                          .flags = appends ? u32{RWF_APPEND} : 0,
                          .is_write = true,
                          .at_once = bytes <= kMostAtOnce && !(handle->flags & (O_SYNC | O_DSYNC))};
  const i64 done = co_await run(server.io, transfer);
  if (done < 0) co_return static_cast<i32>(done);
  const fuse_write_out answer{.size = static_cast<u32>(done)};
  request.reply.put(answer);
  co_return 0;
}

Task<i32> fsync(Server& server, Request& request) {
  return sync_handle(server, request, Handle::Kind::kFile);
}

Task<i32> fsyncdir(Server& server, Request& request) {
  return sync_handle(server, request, Handle::Kind::kDirectory);
}

Task<i32> fallocate(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_fallocate_in>();
  Handle* const handle = server.handles.find(arguments->fh, Handle::Kind::kFile, *request.node);
  if (!handle) co_return -EBADF;
  constexpr u32 kModes = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
                         FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
  if (arguments->mode & ~kModes) co_return -EOPNOTSUPP;
  if (arguments->offset > kMostOffset || arguments->length > kMostOffset - arguments->offset)
    co_return -EFBIG;
  const HandleUse use(server.handles, *handle);
  const int fd = use.fd();
  const i32 dropped = drop_set_ids_for(request.header, fd);
  if (dropped < 0) co_return dropped;
  const u32 mode = arguments->mode;
  const u64 offset = arguments->offset;
  const u64 length = arguments->length;
  const i32 done = co_await server.io.fallocate(fd, mode, offset, length);
  co_return done;
}

i32 lseek(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_lseek_in>();
  const Handle* const handle = server.handles.find(arguments->fh, Handle::Kind::kFile, *request.node);
  if (!handle) return -EBADF;
  if (arguments->whence != SEEK_DATA && arguments->whence != SEEK_HOLE) return -EINVAL;
  if (arguments->offset > kMostOffset) return -EINVAL;
  // Nothing else uses the descriptor's position.
  const off_t found =
      ::lseek(handle->fd.get(), static_cast<off_t>(arguments->offset), static_cast<int>(arguments->whence));
  if (found < 0) return -errno;
  request.reply.put(fuse_lseek_out{.offset = static_cast<u64>(found)});
  return 0;
}

Task<i32> copy_file_range(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_copy_file_range_in>();
  Handle* const from = server.handles.find(arguments->fh_in, Handle::Kind::kFile, *request.node);
  const Node* const to_node = server.inodes.find(arguments->nodeid_out);
  Handle* const to =
      to_node ? server.handles.find(arguments->fh_out, Handle::Kind::kFile, *to_node) : nullptr;
  if (!from || !to) co_return -EBADF;
  if (arguments->flags != 0) co_return -EINVAL;
  if (arguments->off_in > kMostOffset || arguments->off_out > kMostOffset) co_return -EINVAL;
  const HandleUse from_use(server.handles, *from);
  const HandleUse to_use(server.handles, *to);
  const i32 dropped = drop_set_ids_for(request.header, to_use.fd());
  if (dropped < 0) co_return dropped;
  Copy copy;
  copy.from = from_use.fd();
  copy.to = to_use.fd();
  copy.from_offset = static_cast<off_t>(arguments->off_in);
  copy.to_offset = static_cast<off_t>(arguments->off_out);
  copy.bytes = std::min(arguments->len, kMostCopied);
  const i32 copied = co_await server.helper.run(server.io, copy);
  if (copied < 0) co_return copied;
  const fuse_write_out answer{.size = static_cast<u32>(copied)};
  request.reply.put(answer);
  co_return 0;
}

// Of the file system that the node is on: a mount below the share is one of its own in the guest, too.
Task<i32> syncfs(Server& server, Request& request) {
  SyncAll sync;
  if (request.node->slot == kRootSlot) {
    sync.fd = server.share.root.get();
    const i32 done = co_await server.helper.run(server.io, sync);
    co_return done;
  }
  if (server.handles.full()) co_return -ENFILE;
  const Fd fd(open_node(server, *request.node, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) co_return fd.get();
  const HandleTable::Descriptor counted(server.handles);
  sync.fd = fd.get();
  const i32 done = co_await server.helper.run(server.io, sync);
  co_return done;
}

}  // namespace uvmm::fuse
