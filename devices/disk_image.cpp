// SPDX-License-Identifier: Apache-2.0
#include "devices/disk_image.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <thread>

namespace uvmm {
namespace {

constexpr u32 kSmallestBlock = 512;
constexpr u32 kLargestBlock = 4096;  // larger file system blocks say nothing about the disk beneath

constexpr int kLockAttempts = 16;
constexpr std::chrono::milliseconds kLockPause(20);

u32 sane_block_size(u64 bytes) {
  if (!std::has_single_bit(bytes)) return kSmallestBlock;
  return static_cast<u32>(std::clamp<u64>(bytes, kSmallestBlock, kLargestBlock));
}

Result<void> check_type(const std::string& path, mode_t mode) {
  if (S_ISREG(mode) || S_ISBLK(mode)) return {};
  const char* const what = S_ISDIR(mode)    ? "a directory"
                           : S_ISFIFO(mode) ? "a FIFO"
                           : S_ISSOCK(mode) ? "a socket"
                                            : "a character device";
  return with_hint(fail(ErrorKind::kBadData, "cannot use disk {}: it is {}", path, what),
                   "a disk is a raw image file or a block device");
}

std::unexpected<Error> open_failure(const std::string& path, int error, bool read_only, bool direct) {
  auto failure = fail(kind_of_open_error(error), "cannot open disk {}: {}", path, error_text(error));
  if (error == EINVAL && direct) {
    return with_hint(std::move(failure), "its file system has no direct I/O: leave out `direct`");
  }
  if ((error == EACCES || error == EPERM || error == EROFS) && !read_only) {
    return with_hint(std::move(failure), "add `ro` if the guest need not write to it");
  }
  return failure;
}

Result<Fd> open_file(const DiskConfig& config, bool read_only) {
  // Looked at first, since opening some devices does something. O_NONBLOCK, and the second look, are for a
  // path that is exchanged for a FIFO or a device in between.
  struct stat before{};
  if (::stat(config.path.c_str(), &before) < 0) return open_failure(config.path, errno, read_only, false);
  UVMM_CHECK(check_type(config.path, before.st_mode));

  const int direct = config.direct ? O_DIRECT : 0;
  const int access = read_only ? O_RDONLY : O_RDWR;
  Fd fd(::open(config.path.c_str(), access | direct | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return open_failure(config.path, errno, read_only, config.direct);
  struct stat after{};
  if (::fstat(fd.get(), &after) < 0) return open_failure(config.path, errno, read_only, false);
  UVMM_CHECK(check_type(config.path, after.st_mode));

  // io_uring answers EAGAIN on a non-blocking file, regular ones included, where it would otherwise wait.
  if (::fcntl(fd.get(), F_SETFL, direct) < 0) return open_failure(config.path, errno, read_only, false);
  return fd;
}

// An open-file-description lock: it belongs to this descriptor, not to the process, so that two VMs of one
// process exclude each other as well. The kernel takes a process's ring apart after it has ended, and until
// then its files are locked: whoever starts a VM again where one was killed must not be sent away, hence the
// patience.
Result<void> take_lock(int fd, const std::string& path, bool read_only) {
  struct flock lock{};
  lock.l_type = read_only ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;  // with l_len 0: all of it, as far as it may ever grow
  bool busy = false;
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (busy) std::this_thread::sleep_for(kLockPause);
    if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
    busy = errno == EAGAIN || errno == EACCES;
    if (!busy) break;
  }
  if (busy) {
    return with_hint(fail(ErrorKind::kBusy, "cannot lock disk {}: another VM uses it", path),
                     read_only ? "a writable disk has one user at a time: end the VM that writes to it"
                               : "share it between VMs by giving `ro` to all of them");
  }
  return with_hint(fail(ErrorKind::kHost, "cannot lock disk {}: {}", path, error_text(errno)),
                   "its file system may have no locks: `no-lock` does without, at your own risk");
}

Result<DiskImage::Geometry> block_device_geometry(int fd, const std::string& path) {
  DiskImage::Geometry geometry;
  int logical = 0;
  unsigned physical = 0;
  unsigned optimal = 0;
  if (::ioctl(fd, BLKGETSIZE64, &geometry.bytes) < 0 || ::ioctl(fd, BLKSSZGET, &logical) < 0) {
    return fail(ErrorKind::kHost, "cannot get the size of disk {}: {}", path, error_text(errno));
  }
  geometry.logical_block_size = sane_block_size(static_cast<u64>(logical));
  if (::ioctl(fd, BLKPBSZGET, &physical) == 0) geometry.physical_block_size = sane_block_size(physical);
  if (::ioctl(fd, BLKIOOPT, &optimal) == 0) geometry.optimal_io_size = optimal;
  geometry.can_discard = true;  // known only by trying
  return geometry;
}

DiskImage::Geometry file_geometry(int fd, const struct stat& status, bool read_only) {
  DiskImage::Geometry geometry;
  geometry.bytes = static_cast<u64>(status.st_size);
  geometry.physical_block_size = sane_block_size(static_cast<u64>(status.st_blksize));
  // Behind the end of the file a hole changes nothing, and tells whether the file system can punch one.
  geometry.can_discard = !read_only && ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                                   status.st_size, kPageSize) == 0;
  return geometry;
}

// What O_DIRECT asks of memory, offset and length: the kernel's word where it gives it (6.1 and later, and
// not for every file system), else the block size, which is never too little.
Result<void> add_direct_alignment(int fd, const std::string& path, bool is_device,
                                  DiskImage::Geometry& geometry) {
  u32 memory = is_device ? geometry.logical_block_size : geometry.physical_block_size;
  u32 offset = memory;
#ifdef STATX_DIOALIGN
  struct statx status{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN)) {
    memory = status.stx_dio_mem_align;
    offset = status.stx_dio_offset_align;
  }
#endif
  if (memory == 0 || offset == 0) {
    return with_hint(fail(ErrorKind::kHost, "cannot open disk {}: it has no direct I/O", path),
                     "leave out `direct`");
  }
  geometry.memory_alignment = memory;
  geometry.offset_alignment = std::max(kSectorSize, offset);
  geometry.logical_block_size = std::max(geometry.logical_block_size, offset);
  return {};
}

Result<void> check_size(const DiskImage::Geometry& geometry, const std::string& path) {
  if (geometry.bytes == 0) return fail(ErrorKind::kBadData, "cannot use disk {}: it is empty", path);
  if (geometry.bytes % geometry.offset_alignment == 0) return {};
  return with_hint(
      fail(ErrorKind::kBadData, "cannot use disk {}: its size, {} bytes, is not a multiple of {}", path,
           geometry.bytes, geometry.logical_block_size),
      fmt::format("`truncate -s %{} {}` pads it", geometry.offset_alignment, path));
}

}  // namespace

Result<DiskImage> DiskImage::open(const DiskConfig& config, bool read_only) {
  Fd fd = UVMM_TRY(open_file(config, read_only));
  if (config.lock) UVMM_CHECK(take_lock(fd.get(), config.path, read_only));

  struct stat status{};
  if (::fstat(fd.get(), &status) < 0) return open_failure(config.path, errno, read_only, false);
  const bool is_device = S_ISBLK(status.st_mode);
  Geometry geometry = is_device ? UVMM_TRY(block_device_geometry(fd.get(), config.path))
                                : file_geometry(fd.get(), status, read_only);
  if (config.direct) UVMM_CHECK(add_direct_alignment(fd.get(), config.path, is_device, geometry));
  geometry.physical_block_size = std::max(geometry.physical_block_size, geometry.logical_block_size);
  UVMM_CHECK(check_size(geometry, config.path));
  return DiskImage(std::move(fd), config.path, read_only, geometry);
}

Result<u64> DiskImage::current_bytes() const {
  struct stat status{};
  Geometry current = geometry_;
  if (::fstat(fd_.get(), &status) < 0) return open_failure(name_, errno, read_only_, false);
  if (S_ISBLK(status.st_mode))
    current.bytes = UVMM_TRY(block_device_geometry(fd_.get(), name_)).bytes;
  else
    current.bytes = static_cast<u64>(status.st_size);
  UVMM_CHECK(check_size(current, name_));
  return current.bytes;
}

}  // namespace uvmm
