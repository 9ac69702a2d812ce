// SPDX-License-Identifier: Apache-2.0
// What is in files, and the handles by which it is reached.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/fakes/fuse_guest.h"
#include "tests/fakes/skip.h"

namespace uvmm {
namespace {

std::string text_of(const Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

u32 open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<u32>(std::distance(begin(entries), end(entries)));
}

TEST_CASE("data: what is written is on the host, what is there is read") {
  FuseGuest guest;
  u64 handle = 0;
  const u64 node = guest.create("a", handle);
  CHECK(guest.write(node, handle, 0, "hello world") == 11);
  CHECK(guest.get("a") == "hello world");
  guest.put("a", "HELLO");
  CHECK(text_of(guest.read(node, handle, 0, 100)) == "HELLO");
  CHECK(text_of(guest.read(node, handle, 3, 1)) == "L");
  CHECK(guest.read(node, handle, 5, 100).empty());
  CHECK(guest.last_error == 0);
}

TEST_CASE("data: the host reads into the guest's buffers and writes out of them") {
  FuseGuest guest;
  guest.put("a", std::string(8192, 'a'));
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDWR);
  const Bytes arguments = bytes_of(fuse_read_in{.fh = handle, .offset = 4096, .size = 4096});
  const auto at = guest.offer(guest.header(FUSE_READ, node, arguments), arguments, 16 + 4096);
  REQUIRE(guest.io.size() == 1);
  const Op& op = guest.io.pending(0);
  CHECK(op.kind == Op::Kind::kReadv);
  CHECK(op.offset == 4096);
  CHECK(static_cast<const iovec*>(op.address)->iov_base ==
        guest.driver.memory.slice(at[2], 4112)->data() + 16);
  guest.settle();
  CHECK(guest.answer(at, 4112).payload.size() == 4096);
}

TEST_CASE("data: a read that the host cuts short goes on, one that fails is the guest's error") {
  FuseGuest guest;
  guest.put("a", "abcdef");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDONLY);
  const Bytes arguments = bytes_of(fuse_read_in{.fh = handle, .size = 6});
  auto at = guest.offer(guest.header(FUSE_READ, node, arguments), arguments, 22);
  guest.io.finish_read(0, Bytes{'x', 'y'});
  REQUIRE(guest.io.size() == 1);
  CHECK(guest.io.pending(0).offset == 2);
  guest.settle();
  CHECK(text_of(guest.answer(at, 22).payload) == "xycdef");

  at = guest.offer(guest.header(FUSE_READ, node, arguments), arguments, 22);
  guest.io.finish(0, -EIO);
  CHECK(guest.answer(at, 22).error == -EIO);

  at = guest.offer(guest.header(FUSE_READ, node, arguments), arguments, 22);
  guest.io.finish(0, -EAGAIN);
  CHECK(guest.io.pending(0).kind == Op::Kind::kTimeout);
  guest.settle();
  CHECK(guest.answer(at, 22).payload.size() == 6);
}

TEST_CASE("data: a write of which the host does a part is that part, and what then fails fails") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_WRONLY);
  const Bytes arguments =
      bytes_of(fuse_write_in{.fh = handle, .size = 6}) + Bytes{'a', 'b', 'c', 'd', 'e', 'f'};
  for (const i32 error : {-EDQUOT, -ENOSPC, -EIO}) {
    auto at = guest.offer(guest.header(FUSE_WRITE, node, arguments), arguments, 64);
    guest.io.finish(0, 2);
    guest.io.finish(0, error);
    CHECK(guest.answer(at, 64).as<fuse_write_out>().size == 2);
    at = guest.offer(guest.header(FUSE_WRITE, node, arguments), arguments, 64);
    guest.io.finish(0, error);
    CHECK(guest.answer(at, 64).error == error);
  }
}

TEST_CASE("data: a small write is done at once, one that is large or waits for the disk is submitted") {
  FuseGuest guest;
  guest.io.writes_now = true;
  u64 handle = 0;
  const u64 node = guest.create("a", handle);
  CHECK(guest.write(node, handle, 0, "abc") == 3);
  CHECK(guest.get("a") == "abc");
  CHECK(guest.io.submitted == 0);

  const std::string large(64_KiB + 1, 'x');
  CHECK(guest.write(node, handle, 0, large) == i32(large.size()));
  CHECK(guest.get("a") == large);
  CHECK(guest.io.submitted == 1);
  for (const u32 flag : {O_SYNC, O_DSYNC}) {
    const u64 before = guest.io.submitted;
    const u64 synced = guest.open(node, O_WRONLY | flag);
    CHECK(guest.write(node, synced, 0, "def") == 3);
    CHECK(guest.io.submitted == before + 1);
  }
}

TEST_CASE("data: a write that is done at once and fails is the guest's error") {
  FuseGuest guest;
  guest.io.writes_now = true;
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDONLY);
  CHECK(guest.write(node, handle, 0, "abc") == -EBADF);
  CHECK(guest.io.submitted == 0);
}

TEST_CASE("[case 89] data: a handle that was never given, is released or of the wrong kind is EBADF") {
  FuseGuest guest;
  guest.put("a", "content");
  guest.put("b", "");
  const u64 node = guest.lookup("a");
  const u64 other = guest.lookup("b");
  const u64 handle = guest.open(node, O_RDWR);
  const u64 directory = guest.open(FUSE_ROOT_ID, O_RDONLY, FUSE_OPENDIR);
  const auto all_fail = [&](u64 of, u64 fh) {
    CHECK(guest.error_of(FUSE_READ, of, bytes_of(fuse_read_in{.fh = fh, .size = 10})) == -EBADF);
    CHECK(guest.error_of(FUSE_WRITE, of, bytes_of(fuse_write_in{.fh = fh})) == -EBADF);
    CHECK(guest.error_of(FUSE_FSYNC, of, bytes_of(fuse_fsync_in{.fh = fh})) == -EBADF);
    CHECK(guest.error_of(FUSE_FLUSH, of, bytes_of(fuse_flush_in{.fh = fh})) == -EBADF);
    CHECK(guest.error_of(FUSE_RELEASE, of, bytes_of(fuse_release_in{.fh = fh})) == -EBADF);
    CHECK(guest.error_of(FUSE_FALLOCATE, of, bytes_of(fuse_fallocate_in{.fh = fh, .length = 1})) == -EBADF);
    CHECK(guest.error_of(FUSE_LSEEK, of, bytes_of(fuse_lseek_in{.fh = fh, .whence = SEEK_DATA})) == -EBADF);
    CHECK(guest.error_of(FUSE_GETLK, of, bytes_of(fuse_lk_in{.fh = fh, .lk = {.end = 1}})) == -EBADF);
    CHECK(guest.error_of(FUSE_SETLK, of, bytes_of(fuse_lk_in{.fh = fh, .lk = {.end = 1}})) == -EBADF);
    CHECK(guest.error_of(FUSE_SETLKW, of, bytes_of(fuse_lk_in{.fh = fh, .lk = {.end = 1}})) == -EBADF);
    CHECK(guest.error_of(FUSE_SETATTR, of,
                         bytes_of(fuse_setattr_in{.valid = FATTR_FH | FATTR_SIZE, .fh = fh})) == -EBADF);
    CHECK(guest.error_of(FUSE_COPY_FILE_RANGE, of,
                         bytes_of(fuse_copy_file_range_in{
                             .fh_in = fh, .nodeid_out = node, .fh_out = handle, .len = 1})) == -EBADF);
    CHECK(guest.error_of(FUSE_COPY_FILE_RANGE, node,
                         bytes_of(fuse_copy_file_range_in{
                             .fh_in = handle, .nodeid_out = of, .fh_out = fh, .len = 1})) == -EBADF);
    CHECK(guest.error_of(FUSE_IOCTL, of,
                         bytes_of(fuse_ioctl_in{.fh = fh, .cmd = FS_IOC_GETFLAGS, .out_size = 4})) == -EBADF);
  };
  all_fail(node, 77);
  all_fail(node, ~u64{0});
  all_fail(node, handle + (u64{1} << 32));
  all_fail(node, directory);
  all_fail(other, handle);
  for (const u32 opcode : {FUSE_READDIR, FUSE_READDIRPLUS})
    CHECK(guest.error_of(opcode, node, bytes_of(fuse_read_in{.fh = handle, .size = 100})) == -EBADF);
  CHECK(guest.error_of(FUSE_RELEASEDIR, node, bytes_of(fuse_release_in{.fh = handle})) == -EBADF);
  CHECK(guest.error_of(FUSE_FSYNCDIR, node, bytes_of(fuse_fsync_in{.fh = handle})) == -EBADF);
  const u64 second = guest.open(node, O_RDWR);
  guest.release(node, second);
  all_fail(node, second);
  CHECK(text_of(guest.read(node, handle, 0, 10)) == "content");
}

TEST_CASE("[case 98] data: of the flags of an open only harmless ones reach the host") {
  FuseGuest guest;
  guest.put("a", "content");
  const u64 node = guest.lookup("a");
  for (const u32 flags :
       {u32{O_PATH}, u32{O_TMPFILE}, u32{O_CREAT}, u32{O_DIRECTORY}, u32{O_NOATIME}, u32{O_DIRECT}}) {
    const u64 handle = guest.open(node, flags);
    CHECK(text_of(guest.read(node, handle, 0, 10)) == "content");
    guest.release(node, handle);
  }
  CHECK(guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{.flags = ~u32{0}})) == 0);
  CHECK(guest.get("a").empty());  // O_TRUNC was one of them
  CHECK(guest.error_of(FUSE_OPENDIR, FUSE_ROOT_ID, bytes_of(fuse_open_in{.flags = ~u32{0}})) == 0);
  CHECK(guest.error_of(FUSE_OPEN, FUSE_ROOT_ID, bytes_of(fuse_open_in{})) == -EISDIR);
  CHECK(guest.error_of(FUSE_OPENDIR, node, bytes_of(fuse_open_in{})) == -ENOTDIR);
}

TEST_CASE("[case 100] data: a read is bounded by the guest's buffer") {
  FuseGuest guest;
  guest.put("a", std::string(100, 'a'));
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDONLY);
  const FuseAnswer answer =
      guest.call(FUSE_READ, node, bytes_of(fuse_read_in{.fh = handle, .size = ~u32{0}}), 16 + 16);
  CHECK(answer.payload == Bytes(16, 'a'));
  CHECK(
      guest.call(FUSE_READ, node, bytes_of(fuse_read_in{.fh = handle, .size = ~u32{0}}), 16).payload.empty());
  CHECK(guest.error_of(FUSE_READ, node, bytes_of(fuse_read_in{.fh = handle, .offset = ~u64{0}, .size = 1})) ==
        -EINVAL);
}

TEST_CASE("[case 101] data: a write has the bytes that it says, at a place that exists") {
  FuseGuest guest;
  u64 handle = 0;
  const u64 node = guest.create("a", handle);
  const auto write = [&](u32 size, u64 offset, const Bytes& data) {
    return guest.error_of(FUSE_WRITE, node,
                          bytes_of(fuse_write_in{.fh = handle, .offset = offset, .size = size}) + data);
  };
  CHECK(write(5, 0, Bytes(4)) == -EINVAL);
  CHECK(write(3, 0, Bytes(4)) == -EINVAL);
  CHECK(write(~u32{0}, 0, Bytes(4)) == -EINVAL);
  CHECK(write(4, ~u64{0} >> 1, Bytes(4)) == -EFBIG);
  CHECK(write(4, ~u64{0}, Bytes(4)) == -EFBIG);
  CHECK(write(4, (~u64{0} >> 1) - 4, Bytes(4)) < 0);
  CHECK(guest.get("a").empty());
  CHECK(write(4, 2, Bytes(4, 'x')) == 0);
  CHECK(guest.get("a") == std::string("\0\0xxxx", 6));
}

TEST_CASE("data: appending goes to the end, wherever that is by now; a cache's pages go where they belong") {
  FuseGuest guest;
  guest.put("a", "12345");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_WRONLY | O_APPEND);
  guest.put("a", "1234567890");
  CHECK(guest.write(node, handle, 5, "abc", 0, O_WRONLY | O_APPEND) == 3);
  CHECK(guest.get("a") == "1234567890abc");
  CHECK(guest.write(node, handle, 0, "X", FUSE_WRITE_CACHE, O_WRONLY | O_APPEND) == 1);
  CHECK(guest.get("a") == "X234567890abc");
}

TEST_CASE("data: with writeback a handle for writing can be read, too") {
  FuseGuest guest({.options = {.writeback = true}});
  guest.put("a", "12345");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_WRONLY | O_APPEND);
  CHECK(text_of(guest.read(node, handle, 0, 5)) == "12345");
  CHECK(guest.write(node, handle, 0, "abc", 0, O_WRONLY | O_APPEND) == 3);
  CHECK(guest.get("a") == "abc45");
}

TEST_CASE("data: fsync and fdatasync reach the host, and so does its failure") {
  FuseGuest guest;
  u64 handle = 0;
  const u64 node = guest.create("a", handle);
  for (const bool data_only : {false, true}) {
    const Bytes arguments = bytes_of(fuse_fsync_in{.fh = handle, .fsync_flags = data_only});
    const auto at = guest.offer(guest.header(FUSE_FSYNC, node, arguments), arguments, 16);
    REQUIRE(guest.io.size() == 1);
    CHECK(guest.io.pending(0).kind == (data_only ? Op::Kind::kFdatasync : Op::Kind::kFsync));
    guest.io.finish(0, -EIO);
    CHECK(guest.answer(at, 16).error == -EIO);
  }
  const u64 directory = guest.open(FUSE_ROOT_ID, O_RDONLY, FUSE_OPENDIR);
  CHECK(guest.error_of(FUSE_FSYNCDIR, FUSE_ROOT_ID, bytes_of(fuse_fsync_in{.fh = directory})) == 0);
  CHECK(guest.error_of(FUSE_SYNCFS, FUSE_ROOT_ID, Bytes(8)) == 0);
}

TEST_CASE("[case 112] data: fallocate, lseek and copy_file_range do what they know") {
  FuseGuest guest;
  u64 handle = 0;
  const u64 node = guest.create("a", handle);
  const auto allocate = [&](u32 mode, u64 offset, u64 length) {
    return guest.error_of(
        FUSE_FALLOCATE, node,
        bytes_of(fuse_fallocate_in{.fh = handle, .offset = offset, .length = length, .mode = mode}));
  };
  CHECK(guest.write(node, handle, 0, std::string(3 * 4096, 'x')) == 3 * 4096);
  CHECK(allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096) == 0);
  CHECK(guest.read(node, handle, 4096, 1) == Bytes{0});
  CHECK(allocate(0x400, 0, 1) == -EOPNOTSUPP);
  CHECK(allocate(0, ~u64{0}, 1) == -EFBIG);
  CHECK(allocate(0, 1, ~u64{0} >> 1) == -EFBIG);
  CHECK(allocate(0, 0, 0) == -EINVAL);

  const auto seek = [&](u32 whence, u64 offset) {
    return guest.call(FUSE_LSEEK, node,
                      bytes_of(fuse_lseek_in{.fh = handle, .offset = offset, .whence = whence}));
  };
  CHECK(seek(SEEK_HOLE, 0).as<fuse_lseek_out>().offset == 4096);
  CHECK(seek(SEEK_DATA, 4096).as<fuse_lseek_out>().offset == 8192);
  CHECK(seek(SEEK_DATA, 1 << 20).error == -ENXIO);
  for (const u32 whence : {0u, 1u, 2u, 99u, ~0u}) CHECK(seek(whence, 0).error == -EINVAL);
  CHECK(seek(SEEK_DATA, ~u64{0}).error == -EINVAL);

  u64 target = 0;
  const u64 copy = guest.create("b", target);
  const auto copy_range = [&](fuse_copy_file_range_in arguments) {
    arguments.fh_in = handle;
    return guest.call(FUSE_COPY_FILE_RANGE, node, bytes_of(arguments));
  };
  CHECK(copy_range({.off_in = 1, .nodeid_out = copy, .fh_out = target, .off_out = 2, .len = 4})
            .as<fuse_write_out>()
            .size == 4);
  CHECK(guest.get("b") == std::string("\0\0xxxx", 6));
  CHECK(copy_range({.nodeid_out = node, .fh_out = handle, .off_out = 1, .len = 4}).error == -EINVAL);
  CHECK(copy_range({.off_in = ~u64{0}, .nodeid_out = copy, .fh_out = target, .len = 4}).error == -EINVAL);
  CHECK(copy_range({.nodeid_out = copy, .fh_out = target, .off_out = ~u64{0} >> 1, .len = ~u64{0}}).error <
        0);
  CHECK(copy_range({.nodeid_out = copy, .fh_out = target, .len = 4, .flags = 1}).error == -EINVAL);
  CHECK(copy_range({.nodeid_out = 999, .fh_out = target, .len = 4}).error == -EBADF);
}

TEST_CASE("data: a temporary file has no name until it is linked") {
  FuseGuest guest;
  const fuse_create_in arguments{.flags = O_RDWR, .mode = S_IFREG | 0600};
  const FuseAnswer made = guest.call(FUSE_TMPFILE, FUSE_ROOT_ID, bytes_of(arguments));
  REQUIRE(made.error == 0);
  const u64 node = made.as<fuse_entry_out>().nodeid;
  const u64 handle = made.as<fuse_open_out>(sizeof(fuse_entry_out)).fh;
  CHECK(made.as<fuse_entry_out>().attr.nlink == 0);
  CHECK(guest.write(node, handle, 0, "content") == 7);
  CHECK(std::filesystem::is_empty(guest.directory));
  CHECK(guest.error_of(FUSE_LINK, FUSE_ROOT_ID, bytes_of(fuse_link_in{.oldnodeid = node}) + text("named")) ==
        0);
  CHECK(guest.get("named") == "content");
  guest.release(node, handle);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == 0);
}

TEST_CASE("data: ranges are zeroed, taken out and put in, where the host's file system does") {
  const auto page = [](char fill) { return std::string(4096, fill); };
  struct {
    u32 mode;
    std::string expected;
  } const kinds[] = {
      {FALLOC_FL_ZERO_RANGE, page('a') + page('\0') + page('c')},
      {FALLOC_FL_COLLAPSE_RANGE, page('a') + page('c')},
      {FALLOC_FL_INSERT_RANGE, page('a') + page('\0') + page('b') + page('c')},
  };
  for (const auto& kind : kinds) {
    INFO(kind.mode);
    FuseGuest guest;
    guest.put("a", page('a') + page('b') + page('c'));
    guest.put("host", page('a') + page('b') + page('c'));
    const Fd host(::open(guest.path("host").c_str(), O_RDWR | O_CLOEXEC));
    const i32 expected = ::fallocate(host.get(), static_cast<int>(kind.mode), 4096, 4096) < 0 ? -errno : 0;
    const u64 node = guest.lookup("a");
    const fuse_fallocate_in arguments{
        .fh = guest.open(node, O_RDWR), .offset = 4096, .length = 4096, .mode = kind.mode};
    CHECK(guest.error_of(FUSE_FALLOCATE, node, bytes_of(arguments)) == expected);
    if (expected == 0) CHECK(guest.get("a") == kind.expected);
  }
}

TEST_CASE("[case 110] data: when all descriptors are in use the guest gets ENFILE, and others are left") {
  FuseGuest guest({.limits = {.nodes = 64 * 1024, .handles = 20, .paths = 10}});
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  const u32 before = open_descriptors();
  int opened = 0;
  while (guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{})) == 0) ++opened;
  CHECK(opened == 20);
  CHECK(guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{})) == -ENFILE);
  CHECK(guest.error_of(FUSE_OPENDIR, FUSE_ROOT_ID, bytes_of(fuse_open_in{})) == -ENFILE);
  const fuse_create_in create{.flags = O_RDWR, .mode = 0600};
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text("b")) == -ENFILE);
  CHECK(guest.error_of(FUSE_TMPFILE, FUSE_ROOT_ID, bytes_of(create)) == -ENFILE);
  CHECK_FALSE(std::filesystem::exists(guest.path("b")));
  CHECK(open_descriptors() <= before + 20 + 10);
}

TEST_CASE("[case 110] data: when there are too many nodes a lookup is ENFILE until some are forgotten") {
  FuseGuest guest({.limits = {.nodes = 5}});
  for (int i = 0; i < 5; ++i) guest.put(fmt::format("f{}", i), "");
  u64 last = 0;
  for (int i = 0; i < 4; ++i) last = guest.lookup(fmt::format("f{}", i));
  CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text("f4")) == -ENFILE);
  guest.call(FUSE_FORGET, last, bytes_of(fuse_forget_in{.nlookup = 1}), 0);
  CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text("f4")) == 0);
}

TEST_CASE("[case 110] data: when there are too many nodes nothing is made for which there would be none") {
  FuseGuest guest({.limits = {.nodes = 2}});
  guest.put("a", "content");
  guest.put("b", "");
  const u64 node = guest.lookup("a");
  const fuse_create_in create{.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0600};
  const fuse_create_in exclusive{.flags = O_RDWR | O_CREAT | O_EXCL, .mode = S_IFREG | 0600};
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text("new")) == -ENFILE);
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text("b")) == -ENFILE);
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(exclusive) + text("a")) == -ENFILE);
  CHECK(guest.error_of(FUSE_TMPFILE, FUSE_ROOT_ID, bytes_of(create)) == -ENFILE);
  CHECK(guest.error_of(FUSE_MKDIR, FUSE_ROOT_ID, bytes_of(fuse_mkdir_in{}) + text("new")) == -ENFILE);
  CHECK(guest.error_of(FUSE_MKNOD, FUSE_ROOT_ID, bytes_of(fuse_mknod_in{.mode = S_IFREG}) + text("new")) ==
        -ENFILE);
  CHECK(guest.error_of(FUSE_SYMLINK, FUSE_ROOT_ID, text("new") + text("x")) == -ENFILE);
  CHECK_FALSE(std::filesystem::is_symlink(guest.path("new")));
  CHECK_FALSE(std::filesystem::exists(guest.path("new")));
  CHECK(guest.fs->server().handles.descriptors() == 0);
  // A known one is opened, and gets another name.
  const FuseAnswer known = guest.call(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text("a"));
  CHECK(known.as<fuse_entry_out>().nodeid == node);
  CHECK(text_of(guest.read(node, known.as<fuse_open_out>(sizeof(fuse_entry_out)).fh, 0, 7)) == "content");
  CHECK(guest.error_of(FUSE_LINK, FUSE_ROOT_ID, bytes_of(fuse_link_in{.oldnodeid = node}) + text("c")) == 0);
}

// A file system that is soon full, below the share.
struct SmallDisk {
  explicit SmallDisk(std::string where) : path(std::move(where)) {
    std::filesystem::create_directory(path);
    mounted = ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=64k,nr_inodes=8") == 0;
  }
  ~SmallDisk() {
    if (mounted) ::umount2(path.c_str(), MNT_DETACH);
  }
  std::string path;
  bool mounted = false;
};

TEST_CASE("data: a full disk is ENOSPC for writes, new files and names, and the rest goes on") {
  FuseGuest guest;
  const SmallDisk disk(guest.path("small"));
  if (!disk.mounted) skip("mount: needs root");
  const u64 root = guest.lookup("small");
  const fuse_create_in arguments{.flags = O_RDWR, .mode = 0600};
  const FuseAnswer made = guest.call(FUSE_CREATE, root, bytes_of(arguments) + text("a"));
  const u64 node = made.as<fuse_entry_out>().nodeid;
  const u64 handle = made.as<fuse_open_out>(sizeof(fuse_entry_out)).fh;
  i32 written = 0;
  u64 offset = 0;
  while ((written = guest.write(node, handle, offset, std::string(8192, 'x'))) > 0)
    offset += static_cast<u64>(written);
  CHECK(written == -ENOSPC);
  CHECK(offset > 32 * 1024);
  CHECK(guest.error_of(FUSE_FALLOCATE, node, bytes_of(fuse_fallocate_in{.fh = handle, .length = 1 << 20})) ==
        -ENOSPC);
  i32 error = 0;
  for (int i = 0; error == 0 && i < 20; ++i)
    error =
        guest.error_of(FUSE_MKDIR, root, bytes_of(fuse_mkdir_in{.mode = 0700}) + text(fmt::format("d{}", i)));
  CHECK(error == -ENOSPC);
  CHECK(guest.read(node, handle, 0, 1) == Bytes{'x'});
  CHECK(guest.error_of(FUSE_SETATTR, node, bytes_of(fuse_setattr_in{.valid = FATTR_SIZE})) == 0);
  CHECK(guest.write(node, handle, 0, "y") == 1);
}

TEST_CASE("data: syncfs is for the file system that the node is on, whose descriptor is kept meanwhile") {
  FuseGuest guest({.limits = {.handles = 1}});
  const SmallDisk disk(guest.path("small"));
  if (!disk.mounted) skip("mount: needs root");
  const u64 root = guest.lookup("small");
  const auto opened = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const int fd = std::stoi(entry.path().filename());
      count +=
          std::filesystem::read_symlink(entry.path(), gone) == disk.path && !(::fcntl(fd, F_GETFL) & O_PATH);
    }
    return count;
  };
  const auto at = guest.offer(guest.header(FUSE_SYNCFS, root, {}), {}, 64);
  CHECK(opened() == 1);
  CHECK(guest.fs->server().handles.descriptors() == 1);
  const auto second = guest.offer(guest.header(FUSE_SYNCFS, root, {}), {}, 64);
  CHECK(guest.answer(second, 64).error == -ENFILE);
  guest.settle();
  CHECK(guest.answer(at, 64).error == 0);
  CHECK(opened() == 0);
  CHECK(guest.fs->server().handles.descriptors() == 0);
  CHECK(guest.error_of(FUSE_SYNCFS, FUSE_ROOT_ID) == 0);
  CHECK(guest.error_of(FUSE_SYNCFS, 77) == -ESTALE);
}

TEST_CASE("[case 119] data: a disk that becomes read-only is EROFS") {
  FuseGuest guest;
  const SmallDisk disk(guest.path("small"));
  if (!disk.mounted) skip("mount: needs root");
  const u64 root = guest.lookup("small");
  REQUIRE(::mount(nullptr, disk.path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  CHECK(guest.error_of(FUSE_MKDIR, root, bytes_of(fuse_mkdir_in{.mode = 0700}) + text("d")) == -EROFS);
}

TEST_CASE("[case 119] data: a share whose own file system becomes read-only can still be read") {
  char name[] = "/tmp/uvmm-share-XXXXXX";
  const SmallDisk disk(std::string(::mkdtemp(name)) + "/share");
  if (!disk.mounted) skip("mount: needs root");
  FuseGuest guest({.directory = disk.path});
  u64 handle = 0;
  const u64 node = guest.create("a", handle);
  CHECK(guest.write(node, handle, 0, "content") == 7);
  guest.release(node, handle);
  handle = guest.open(node, O_RDONLY);
  REQUIRE(::mount(nullptr, disk.path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  const fuse_create_in create{.flags = O_RDWR, .mode = 0600};
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text("b")) == -EROFS);
  CHECK(guest.error_of(FUSE_UNLINK, FUSE_ROOT_ID, text("a")) == -EROFS);
  CHECK(guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{.flags = O_RDWR})) == -EROFS);
  CHECK(guest.error_of(FUSE_SETATTR, node, bytes_of(fuse_setattr_in{.valid = FATTR_SIZE})) == -EROFS);
  CHECK(text_of(guest.read(node, handle, 0, 7)) == "content");
  CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text("a")) == 0);
  ::umount2(disk.path.c_str(), MNT_DETACH);
  std::filesystem::remove_all(name);
}

TEST_CASE("data: what others change meanwhile is forgotten by the guest's cache, the rest is kept") {
  FuseGuest guest;
  guest.put("a", "content");
  const auto flags = [&] {
    const auto opened = guest.call<fuse_open_out>(FUSE_OPEN, guest.lookup("a"), bytes_of(fuse_open_in{}));
    return opened.open_flags;
  };
  CHECK(flags() == 0);
  ::usleep(60'000);  // more recent changes might be followed by others of the same time
  CHECK(flags() == 0);
  CHECK(flags() == FOPEN_KEEP_CACHE);
  guest.put("a", "changed");
  CHECK(flags() == 0);
}

TEST_CASE("data: how long what the guest knows is valid follows the way of caching") {
  const auto entry_for = [](fuse::Caching caching) {
    FuseGuest guest({.options = {.caching = caching}});
    guest.put("a", "");
    return guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("a"));
  };
  CHECK(entry_for(fuse::Caching::kNever).entry_valid == 0);
  CHECK(entry_for(fuse::Caching::kAuto).entry_valid == 1);
  CHECK(entry_for(fuse::Caching::kAlways).attr_valid == 86400);

  FuseGuest always({.options = {.caching = fuse::Caching::kAlways}});
  const auto absent = always.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("none"));
  CHECK(always.last_error == 0);
  CHECK(absent.nodeid == 0);
  CHECK(absent.entry_valid == 86400);
  FuseGuest never({.options = {.caching = fuse::Caching::kNever}});
  never.put("a", "");
  CHECK(never.call<fuse_open_out>(FUSE_OPEN, never.lookup("a"), bytes_of(fuse_open_in{})).open_flags &
        FOPEN_DIRECT_IO);
}

}  // namespace
}  // namespace uvmm
