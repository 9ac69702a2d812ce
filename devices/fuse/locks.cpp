// SPDX-License-Identifier: Apache-2.0
// Locks: of POSIX (see LockTable), and of flock(), which belong to the handle's own descriptor. The host's
// processes see both. Waiting for one takes no thread: the request tries again, ever less often.
#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

constexpr u64 kMostOffset = LockRanges::kMostOffset;
constexpr u64 kFirstPause = 1'000'000;  // nanoseconds
constexpr u64 kLongestPause = 20'000'000;

bool is_valid(const fuse_lk_in& wish) {
  return wish.lk.start <= wish.lk.end && wish.lk.end <= kMostOffset &&
         (wish.lk.type == F_RDLCK || wish.lk.type == F_WRLCK || wish.lk.type == F_UNLCK);
}

i32 set_flock(const Handle& handle, u32 type) {
  const int operation = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;
  return result_of(::flock(handle.fd.get(), operation | LOCK_NB));
}

// One attempt. -EAGAIN: someone else has it.
i32 try_lock(Server& server, Request& request, const fuse_lk_in& wish) {
  if (!is_valid(wish)) return -EINVAL;
  Node* const node = server.inodes.find(request.header.nodeid);
  if (!node) return -ESTALE;
  const Handle* const handle = server.handles.find(wish.fh, Handle::Kind::kFile, *node);
  if (!handle) return -EBADF;
  if (wish.lk_flags & FUSE_LK_FLOCK) return set_flock(*handle, wish.lk.type);

  LockTable::Owner* const owner = wish.lk.type == F_UNLCK
                                      ? server.locks.find(*node, wish.owner)
                                      : server.locks.find_or_open(server.share, *node, wish.owner, *handle);
  if (!owner) return wish.lk.type == F_UNLCK ? 0 : -errno;
  if (!server.locks.has_room(*owner, wish.lk)) return -ENOLCK;
  owner->pid = wish.lk.pid;
  struct flock lock = host_lock(wish.lk);
  const i32 done = result_of(::fcntl(owner->fd.get(), F_OFD_SETLK, &lock));
  if (done == 0) server.locks.set(*owner, wish.lk);
  return done == -EACCES ? -EAGAIN : done;
}

}  // namespace

i32 getlk(Server& server, Request& request) {
  const auto wish = request.arguments.take<fuse_lk_in>();
  if (!is_valid(*wish)) return -EINVAL;
  const Handle* const handle = server.handles.find(wish->fh, Handle::Kind::kFile, *request.node);
  if (!handle) return -EBADF;
  // Asked of the owner's descriptor, if there is one, since its own locks are none against it.
  const LockTable::Owner* const owner = server.locks.find(*request.node, wish->owner);
  struct flock lock = host_lock(wish->lk);
  if (::fcntl(owner ? owner->fd.get() : handle->fd.get(), F_OFD_GETLK, &lock) < 0) return -errno;

  fuse_lk_out out{.lk = {.type = F_UNLCK}};
  if (lock.l_type != F_UNLCK) {
    out.lk.start = static_cast<u64>(lock.l_start);
    out.lk.end = lock.l_len == 0 ? kMostOffset : static_cast<u64>(lock.l_start + lock.l_len - 1);
    out.lk.type = static_cast<u32>(lock.l_type);
    // A process of the host has no number in the guest.
    out.lk.pid = server.locks.blocking_pid(*request.node, wish->owner, wish->lk);
  }
  request.reply.put(out);
  return 0;
}

i32 setlk(Server& server, Request& request) {
  const auto wish = request.arguments.take<fuse_lk_in>();
  return try_lock(server, request, *wish);
}

Task<i32> setlkw(Server& server, Request& request) {
  const auto wish = request.arguments.take<fuse_lk_in>();
  const i32 first = try_lock(server, request, *wish);
  if (first != -EAGAIN) co_return first;
  // Only POSIX locks know deadlocks.
  const Slot file = wish->lk_flags & FUSE_LK_FLOCK ? kNoSlot : request.node->slot;
  if (server.locks.would_deadlock(file, wish->owner, wish->lk)) co_return -EDEADLK;
  const LockTable::Waiter waiter(server.locks, request.header.unique, file, wish->owner, wish->lk);
  u64 pause = kFirstPause;
  for (;;) {
    const i32 slept = co_await server.io.sleep(pause);
    if (slept == -ECANCELED || waiter.interrupted) co_return -EINTR;
    const i32 done = try_lock(server, request, *wish);
    if (done != -EAGAIN) co_return done;
    pause = std::min(pause * 2, kLongestPause);
  }
}

i32 interrupt(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_interrupt_in>();
  server.locks.interrupt(arguments->unique);
  return 0;
}

}  // namespace uvmm::fuse
