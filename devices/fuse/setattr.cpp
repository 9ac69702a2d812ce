// SPDX-License-Identifier: Apache-2.0
// FUSE_SETATTR: owner, size, mode and times, in this order, since a change of owner takes set-id bits away.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

constexpr u32 kUnchanged = ~u32{0};

i32 change_owner(const Server& server, int fd, const fuse_setattr_in& wish) {
  const Ids ids{wish.valid & FATTR_UID ? wish.uid : kUnchanged,
                wish.valid & FATTR_GID ? wish.gid : kUnchanged};
  if (!server.share.owners.passes_through()) {
    const Ids shown = server.share.owners.shown({});
    const bool same =
        (ids.uid == kUnchanged || ids.uid == shown.uid) && (ids.gid == kUnchanged || ids.gid == shown.gid);
    return same ? 0 : -EPERM;
  }
  if (((wish.valid & FATTR_UID) && ids.uid == kUnchanged) ||
      ((wish.valid & FATTR_GID) && ids.gid == kUnchanged))
    return -EINVAL;
  return result_of(::fchownat(fd, "", ids.uid, ids.gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

i32 change_size(const Server& server, int fd, bool open, const fuse_setattr_in& wish) {
  if (wish.size > u64{INT64_MAX}) return -EFBIG;
  if (wish.valid & FATTR_KILL_SUIDGID) {
    const i32 dropped = drop_set_ids(fd);
    if (dropped < 0) return dropped;
  }
  const auto size = static_cast<off_t>(wish.size);
  if (open) return result_of(::ftruncate(fd, size));
  // Opened for it, rather than by truncate(), which would wait for whoever has a lease on the file.
  const Fd writable(::openat(server.share.descriptors.get(), DescriptorPath(fd).number(),
                             O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  return writable ? result_of(::ftruncate(writable.get(), size)) : -errno;
}

i32 change_mode(const Server& server, const Node& node, int fd, u32 mode) {
  const u32 set_ids = S_ISDIR(node.identity.type) ? S_ISUID : S_ISUID | S_ISGID;
  // On the host the program would run as this process's user.
  if (!server.share.owners.passes_through() && (mode & set_ids)) return -EPERM;
  return result_of(::fchmodat(server.share.descriptors.get(), DescriptorPath(fd).number(), mode & 07777, 0));
}

timespec time_of(u32 valid, u32 given, u32 now, u64 seconds, u32 nanoseconds) {
  if (valid & now) return {.tv_sec = 0, .tv_nsec = UTIME_NOW};
  if (valid & given) return {.tv_sec = static_cast<time_t>(seconds), .tv_nsec = nanoseconds};
  return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
}

i32 change_times(int fd, const fuse_setattr_in& wish) {
  constexpr u32 kNanoseconds = 1'000'000'000;
  if (wish.atimensec >= kNanoseconds || wish.mtimensec >= kNanoseconds) return -EINVAL;
  const timespec times[2] = {
      time_of(wish.valid, FATTR_ATIME, FATTR_ATIME_NOW, wish.atime, wish.atimensec),
      time_of(wish.valid, FATTR_MTIME, FATTR_MTIME_NOW, wish.mtime, wish.mtimensec),
  };
  return result_of(::utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

}  // namespace

i32 drop_set_ids(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return -errno;
  mode_t mode = status.st_mode & 07777;
  mode &= ~mode_t{S_ISUID};
  if (mode & S_IXGRP) mode &= ~mode_t{S_ISGID};
  if (!S_ISREG(status.st_mode) || mode == (status.st_mode & 07777)) return 0;
  return result_of(::chmod(DescriptorPath(fd).c_str(), mode));
}

i32 setattr(Server& server, Request& request) {
  const auto wish = request.arguments.take<fuse_setattr_in>();
  Node& node = *request.node;
  const Handle* handle = nullptr;
  if (wish->valid & FATTR_FH) {
    handle = server.handles.find(wish->fh, Handle::Kind::kFile, node);
    if (!handle) return -EBADF;
  }
  const i32 fd = handle ? handle->fd.get() : server.files.path(node);
  if (fd < 0) return fd;

  i32 done = 0;
  if (wish->valid & (FATTR_UID | FATTR_GID)) done = change_owner(server, fd, *wish);
  if (done >= 0 && (wish->valid & FATTR_SIZE)) {
    if (!S_ISREG(node.identity.type)) return S_ISDIR(node.identity.type) ? -EISDIR : -EINVAL;
    done = change_size(server, fd, handle != nullptr, *wish);
  }
  if (done >= 0 && (wish->valid & FATTR_MODE)) done = change_mode(server, node, fd, wish->mode);
  if (done >= 0 && (wish->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)))
    done = change_times(fd, *wish);
  if (done < 0) return done;

  Look seen;
  const i32 looked = server.files.look(fd, "", seen);
  if (looked < 0) return looked;
  request.reply.put(
      fuse_attr_out{.attr_valid = seconds_valid(server), .attr = attributes_of(server, node, seen.status)});
  return 0;
}

}  // namespace uvmm::fuse
