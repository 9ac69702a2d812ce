// SPDX-License-Identifier: Apache-2.0
#include "devices/disk_image.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/loop_device.h"

namespace uvmm {
namespace {

// A directory that goes away with the test.
struct Directory {
  explicit Directory(const std::string& where = "/tmp") : path(where + "/uvmm-disk-XXXXXX") {
    REQUIRE(::mkdtemp(path.data()));
  }
  ~Directory() { std::filesystem::remove_all(path); }

  std::string file(const char* name, u64 bytes) const {
    const std::string full = path + "/" + name;
    const Fd fd(::open(full.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0);
    return full;
  }

  std::string path;
};

Error error_of(const DiskConfig& config, bool read_only = false) {
  const Result<DiskImage> image = DiskImage::open(config, read_only);
  REQUIRE_FALSE(image);
  return image.error();
}

TEST_CASE("disk image: a regular file is a disk of its size") {
  const Directory directory;
  const auto image = DiskImage::open({.path = directory.file("a.img", 1_MiB)}, false);
  REQUIRE(image);
  CHECK(image->geometry().bytes == 1_MiB);
  CHECK(image->geometry().logical_block_size == 512);
  CHECK(image->geometry().memory_alignment == 1);
  CHECK_FALSE(image->read_only());
  CHECK((::fcntl(image->fd(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(image->fd(), F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == O_RDWR);
}

TEST_CASE("disk image: its size of now is what open() would take") {
  const Directory directory;
  const std::string path = directory.file("a.img", 1_MiB);
  const auto image = DiskImage::open({.path = path}, false);
  REQUIRE(image);
  CHECK(image->current_bytes() == 1_MiB);
  REQUIRE(::truncate(path.c_str(), 2_MiB) == 0);
  CHECK(image->current_bytes() == 2_MiB);
  CHECK(image->geometry().bytes == 1_MiB);
  REQUIRE(::truncate(path.c_str(), 2_MiB + 1) == 0);
  CHECK_FALSE(image->current_bytes());
}

TEST_CASE("disk image: a read-only disk is opened for reading only") {
  const Directory directory;
  const auto image = DiskImage::open({.path = directory.file("a.img", 512)}, true);
  REQUIRE(image);
  CHECK((::fcntl(image->fd(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK_FALSE(image->geometry().can_discard);
}

TEST_CASE("[case 163] disk image: what is not there is said so") {
  const Error error = error_of({.path = "/nonexistent/disk.img"});
  CHECK(error.kind == ErrorKind::kNoInput);
  CHECK(error.message == "cannot open disk /nonexistent/disk.img: No such file or directory");
}

TEST_CASE("[case 163] disk image: only files and block devices are disks") {
  const Directory directory;
  SECTION("a directory") {
    const Error error = error_of({.path = directory.path});
    CHECK(error.kind == ErrorKind::kBadData);
    CHECK(error.message == "cannot use disk " + directory.path + ": it is a directory");
  }
  SECTION("a FIFO, and without waiting for its other end") {
    const std::string path = directory.path + "/fifo";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK(error_of({.path = path}, true).message == "cannot use disk " + path + ": it is a FIFO");
  }
  SECTION("a character device") {
    CHECK(error_of({.path = "/dev/zero"}).message == "cannot use disk /dev/zero: it is a character device");
  }
}

TEST_CASE("[case 163] disk image: an empty file is no disk") {
  const Directory directory;
  const Error error = error_of({.path = directory.file("a.img", 0)});
  CHECK(error.kind == ErrorKind::kBadData);
  CHECK(error.message.ends_with("it is empty"));
}

TEST_CASE("[case 163] disk image: a size that is no multiple of a sector is refused") {
  const Directory directory;
  const u64 bytes = GENERATE(1u, 511u, 513u);
  const Error error = error_of({.path = directory.file("a.img", bytes)});
  CHECK(error.kind == ErrorKind::kBadData);
  CHECK(error.hint.starts_with("`truncate -s %512 "));
}

TEST_CASE("[case 163] disk image: a file that may not be opened is refused with a remedy") {
  if (::geteuid() == 0) return;  // to whom nothing is forbidden
  const Directory directory;
  const std::string path = directory.file("a.img", 512);
  REQUIRE(::chmod(path.c_str(), 0400) == 0);
  const Error error = error_of({.path = path});
  CHECK(error.kind == ErrorKind::kPermission);
  CHECK(error.hint == "add `ro` if the guest need not write to it");
}

TEST_CASE("[case 69] disk image: a second writer is refused") {
  const Directory directory;
  const DiskConfig config{.path = directory.file("a.img", 512)};
  const auto first = DiskImage::open(config, false);
  REQUIRE(first);
  const Error error = error_of(config);
  CHECK(error.kind == ErrorKind::kBusy);
  CHECK(error.message == "cannot lock disk " + config.path + ": another VM uses it");
  CHECK_FALSE(error.hint.empty());
  CHECK(error_of(config, true).kind == ErrorKind::kBusy);
}

TEST_CASE("[case 69] disk image: readers share a disk, and keep a writer out") {
  const Directory directory;
  const DiskConfig config{.path = directory.file("a.img", 512)};
  const auto first = DiskImage::open(config, true);
  const auto second = DiskImage::open(config, true);
  CHECK(first);
  CHECK(second);
  CHECK(error_of(config).kind == ErrorKind::kBusy);
}

TEST_CASE("disk image: the lock goes with the disk") {
  const Directory directory;
  const DiskConfig config{.path = directory.file("a.img", 512)};
  CHECK(DiskImage::open(config, false));
  CHECK(DiskImage::open(config, false));
}

TEST_CASE("disk image: a lock that is about to go is waited for, as after a VM that was killed") {
  const Directory directory;
  const DiskConfig config{.path = directory.file("a.img", 512)};
  std::optional<Result<DiskImage>> first = DiskImage::open(config, false);
  REQUIRE(*first);
  std::thread kernel([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    first.reset();
  });
  CHECK(DiskImage::open(config, false));
  kernel.join();
}

TEST_CASE("disk image: without lock a disk may have several writers") {
  const Directory directory;
  const DiskConfig config{.path = directory.file("a.img", 512), .lock = false};
  const auto first = DiskImage::open(config, false);
  CHECK(first);
  CHECK(DiskImage::open(config, false));
}

TEST_CASE("[case 68] disk image: its content says nothing about its format") {
  const Directory directory;
  const std::string path = directory.file("a.img", 4096);
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(::pwrite(fd.get(), "QFI\xfb\0\0\0\3", 8, 0) == 8);
  const auto image = DiskImage::open({.path = path}, false);
  REQUIRE(image);
  CHECK(image->geometry().bytes == 4096);
}

// What the kernel says of direct I/O on it, as uvmm found it, is true: the smallest such read is done.
void check_direct_read(const DiskImage& image) {
  const DiskImage::Geometry& geometry = image.geometry();
  CHECK((::fcntl(image.fd(), F_GETFL) & O_DIRECT) != 0);
  CHECK(geometry.offset_alignment >= 512);
  CHECK(geometry.logical_block_size == geometry.offset_alignment);
  CHECK(geometry.physical_block_size >= geometry.logical_block_size);
  std::vector<u8> pages(16384);
  u8* const aligned = pages.data() + geometry.memory_alignment -
                      reinterpret_cast<u64>(pages.data()) % geometry.memory_alignment;
  const u32 bytes = geometry.offset_alignment;
  CHECK(::pread(image.fd(), aligned, bytes, bytes) == bytes);
}

TEST_CASE("disk image: direct I/O says what alignment it needs, or that there is none") {
  // tmpfs has none before Linux 6.6, and then does it from and to its page cache.
  const std::string where = GENERATE("/tmp", "/dev/shm");
  CAPTURE(where);
  const Directory directory(where);
  const auto image = DiskImage::open({.path = directory.file("a.img", 1_MiB), .direct = true}, false);
  if (!image) {
    CHECK(image.error().hint.ends_with("leave out `direct`"));
    return;
  }
  check_direct_read(*image);
}

TEST_CASE("disk image: a block device's blocks are the guest's, and what direct I/O counts in") {
  const u32 block_size = GENERATE(512u, 4096u);
  const bool direct = GENERATE(false, true);
  CAPTURE(block_size, direct);
  const Directory directory;
  const LoopDevice loop(directory.file("a.img", 1_MiB), block_size);
  const auto image = DiskImage::open({.path = loop.path(), .direct = direct}, false);
  REQUIRE(image);
  CHECK(image->geometry().bytes == 1_MiB);
  CHECK(image->geometry().logical_block_size == block_size);
  CHECK(image->geometry().offset_alignment == (direct ? block_size : 512));
  if (direct) check_direct_read(*image);
}

TEST_CASE("disk image: a file on a disk of 4096-byte blocks is direct in such blocks only") {
  if (::geteuid() != 0) skip("no mounts here");
  const Directory directory;
  const LoopDevice loop(directory.file("disk.img", 16_MiB), 4096);
  if (std::system(("mkfs.ext4 -q " + loop.path()).c_str()) != 0) skip("no mkfs.ext4");
  const std::string mounted = directory.path + "/mounted";
  std::filesystem::create_directory(mounted);
  if (::mount(loop.path().c_str(), mounted.c_str(), "ext4", 0, nullptr) < 0) skip("no mounts here");
  const struct Unmount {
    const std::string& path;
    ~Unmount() { ::umount2(path.c_str(), MNT_DETACH); }
  } at_end{mounted};
  const std::string path = mounted + "/a.img";
  const Fd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  REQUIRE(::ftruncate(fd.get(), 1_MiB + 512) == 0);
  CHECK(error_of({.path = path, .direct = true}).hint.starts_with("`truncate -s %4096 "));
  REQUIRE(::ftruncate(fd.get(), 1_MiB) == 0);
  const auto image = DiskImage::open({.path = path, .direct = true}, false);
  CHECK(image);
  if (image) CHECK(image->geometry().logical_block_size == 4096);
  if (image) check_direct_read(*image);
}

}  // namespace
}  // namespace uvmm
