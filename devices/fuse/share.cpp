// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/share.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "devices/fuse/file_handle.h"

namespace uvmm::fuse {
namespace {

Owners owners_for(const ShareOptions& options, const struct stat& root) {
  const bool may = Owners::may_pass_through();
  if (may && !options.uid && !options.gid) return Owners::pass_through();
  const Ids shown{options.uid.value_or(0), options.gid.value_or(0)};
  // Root with a mapping has no owner of its own to give: what is created is the directory's owner's.
  if (may) return Owners::mapped(shown, Ids{root.st_uid, root.st_gid});
  return Owners::mapped(shown, std::nullopt);
}

// Whether the host gives out file handles here and takes them back. File systems of FUSE do the latter only
// while the file is in the kernel's cache.
bool keeps_file_handles(int root) {
  struct statfs status{};
  if (::fstatfs(root, &status) < 0 || status.f_type == FUSE_SUPER_MAGIC) return false;
  FileHandle handle;
  return handle.take(root, "", AT_EMPTY_PATH) && Fd(handle.open(root, O_PATH | O_CLOEXEC));
}

}  // namespace

Result<Share> Share::open(const ShareOptions& options) {
  Share share{.options = options};
  share.root = Fd(::open(options.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!share.root) {
    const int error = errno;
    return fail(error == ENOTDIR ? ErrorKind::kBadData : kind_of_open_error(error), "cannot share {}: {}",
                options.path, error_text(error));
  }
  share.descriptors = Fd(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!share.descriptors)
    return with_hint(
        fail(ErrorKind::kUnavailable, "cannot share {}: /proc/self/fd: {}", options.path, error_text(errno)),
        "mount proc on /proc");
  struct stat attributes{};
  if (::fstat(share.root.get(), &attributes) < 0)
    return fail(ErrorKind::kHost, "cannot share {}: {}", options.path, error_text(errno));
  share.owners = owners_for(options, attributes);

  share.file_handles = keeps_file_handles(share.root.get());
  return share;
}

}  // namespace uvmm::fuse
