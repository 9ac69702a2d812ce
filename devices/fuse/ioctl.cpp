// SPDX-License-Identifier: Apache-2.0
// The file attributes of chattr and lsattr, which Linux asks for by FUSE_IOCTL. There is no other ioctl.
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

// Reads from, or writes to, the file what the guest's buffer of a known size has.
template <typename T>
i32 exchange(Request& request, int fd, u32 command, bool write, const fuse_ioctl_in& arguments) {
  T value{};
  if (write) {
    if (arguments.in_size != sizeof(T) || request.arguments.rest().size() < sizeof(T)) return -EINVAL;
    value = *request.arguments.take<T>();
  } else if (arguments.out_size < sizeof(T) || request.reply.room() < sizeof(fuse_ioctl_out) + sizeof(T)) {
    return -EINVAL;
  }
  if (::ioctl(fd, command, &value) < 0) return -errno;
  request.reply.put(fuse_ioctl_out{});
  if (!write) request.reply.put(value);
  return 0;
}

}  // namespace

i32 ioctl(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_ioctl_in>();
  const u32 command = arguments->cmd;
  const bool write = command == FS_IOC_SETFLAGS || command == FS_IOC_FSSETXATTR;
  const bool known = write || command == FS_IOC_GETFLAGS || command == FS_IOC_FSGETXATTR;
  if (!known || (arguments->flags & ~u32{FUSE_IOCTL_DIR})) return -ENOTTY;
  const auto kind = arguments->flags & FUSE_IOCTL_DIR ? Handle::Kind::kDirectory : Handle::Kind::kFile;
  const Handle* const handle = server.handles.find(arguments->fh, kind, *request.node);
  if (!handle) return -EBADF;
  if (write && server.share.options.read_only) return -EROFS;
  // That a file cannot be changed, or whose quota it counts for, the guest says with this process's power.
  if (write && !server.share.owners.passes_through()) return -EPERM;
  const int fd = handle->fd.get();
  // The two that are older than their names take an int, whatever their numbers say.
  if (command == FS_IOC_GETFLAGS || command == FS_IOC_SETFLAGS)
    return exchange<u32>(request, fd, command, write, *arguments);
  return exchange<struct fsxattr>(request, fd, command, write, *arguments);
}

}  // namespace uvmm::fuse
