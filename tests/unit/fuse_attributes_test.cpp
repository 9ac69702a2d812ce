// SPDX-License-Identifier: Apache-2.0
// Attributes, owners, extended attributes, and shares that are read-only.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/fakes/fuse_guest.h"
#include "tests/fakes/skip.h"

namespace uvmm {
namespace {

// With ids that are mapped although this may be root.
FuseGuest::Setup mapped(u32 uid = 500, u32 gid = 501) {
  return {.options = {.uid = uid, .gid = gid}};
}

struct stat status_of(const FuseGuest& guest, std::string_view name) {
  struct stat status{};
  ::lstat(guest.path(name).c_str(), &status);
  return status;
}

i32 set(FuseGuest& guest, u64 node, const fuse_setattr_in& wish) {
  return guest.error_of(FUSE_SETATTR, node, bytes_of(wish));
}

Bytes xattr(std::string_view name, const Bytes& value) {
  return bytes_of(fuse_setxattr_in{.size = static_cast<u32>(value.size())}) + text(name) + value;
}

TEST_CASE("attributes: they are the host's, to the nanosecond") {
  FuseGuest guest;
  guest.put("a", "12345");
  const timespec times[2] = {{.tv_sec = 1, .tv_nsec = 999'999'999}, {.tv_sec = 5'000'000'000, .tv_nsec = 1}};
  REQUIRE(::utimensat(AT_FDCWD, guest.path("a").c_str(), times, 0) == 0);
  const auto attr = guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("a")).attr;
  const struct stat host = status_of(guest, "a");
  CHECK(attr.ino == host.st_ino);
  CHECK(attr.size == 5);
  CHECK(attr.mode == host.st_mode);
  CHECK(attr.nlink == 1);
  CHECK(attr.atime == 1);
  CHECK(attr.atimensec == 999'999'999);
  CHECK(attr.mtime == 5'000'000'000);
  CHECK(attr.mtimensec == 1);
}

TEST_CASE("attributes: statx has the time of birth") {
  FuseGuest guest;
  guest.put("a", "12345");
  const auto out = guest.call<fuse::fuse_statx_out>(fuse::kStatx, guest.lookup("a"),
                                                    bytes_of(fuse::fuse_statx_in{.sx_mask = STATX_BTIME}));
  CHECK(out.stat.stx_size == 5);
  CHECK(out.stat.stx_ino == status_of(guest, "a").st_ino);
  struct statx host{};
  ::statx(AT_FDCWD, guest.path("a").c_str(), 0, STATX_BTIME, &host);
  CHECK(out.stat.stx_btime.tv_sec == host.stx_btime.tv_sec);
}

TEST_CASE("attributes: times, size and mode can be set, with and without a handle") {
  FuseGuest guest;
  guest.put("a", "12345");
  const u64 node = guest.lookup("a");
  CHECK(set(guest, node, {.valid = FATTR_MODE, .mode = S_IFREG | 0640}) == 0);
  CHECK((status_of(guest, "a").st_mode & 07777) == 0640);
  CHECK(set(guest, node, {.valid = FATTR_SIZE, .size = 3}) == 0);
  CHECK(guest.get("a") == "123");
  const u64 handle = guest.open(node, O_RDWR);
  CHECK(set(guest, node, {.valid = FATTR_SIZE | FATTR_FH, .fh = handle, .size = 1}) == 0);
  CHECK(guest.get("a") == "1");
  CHECK(set(guest, node,
            {.valid = FATTR_ATIME | FATTR_MTIME, .atime = 7, .mtime = 8, .atimensec = 9, .mtimensec = 10}) ==
        0);
  CHECK(status_of(guest, "a").st_mtim.tv_sec == 8);
  CHECK(status_of(guest, "a").st_mtim.tv_nsec == 10);
  CHECK(set(guest, node, {.valid = FATTR_MTIME, .mtimensec = 1'000'000'000}) == -EINVAL);
  CHECK(set(guest, node, {.valid = FATTR_MTIME | FATTR_MTIME_NOW}) == 0);
  CHECK(status_of(guest, "a").st_mtim.tv_sec > 1'000'000'000);
  CHECK(set(guest, node, {.valid = FATTR_SIZE, .size = ~u64{0}}) == -EFBIG);
  CHECK(set(guest, FUSE_ROOT_ID, {.valid = FATTR_SIZE}) == -EISDIR);
  REQUIRE(::symlink("a", guest.path("link").c_str()) == 0);
  CHECK(set(guest, guest.lookup("link"), {.valid = FATTR_MTIME, .mtime = 77}) == 0);
  CHECK(status_of(guest, "link").st_mtim.tv_sec == 77);
  CHECK(status_of(guest, "a").st_mtim.tv_sec != 77);
}

TEST_CASE("[case 104] attributes: where ids are mapped, nothing changes hands and no set-id bit is set") {
  FuseGuest guest(mapped());
  guest.put("a", "");
  std::filesystem::create_directory(guest.path("d"));
  const u64 node = guest.lookup("a");
  const auto attr = guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("a")).attr;
  CHECK(attr.uid == 500);
  CHECK(attr.gid == 501);
  CHECK(set(guest, node, {.valid = FATTR_UID | FATTR_GID, .uid = 500, .gid = 501}) == 0);
  CHECK(set(guest, node, {.valid = FATTR_UID, .uid = 0}) == -EPERM);
  CHECK(set(guest, node, {.valid = FATTR_GID, .gid = 0}) == -EPERM);
  CHECK(set(guest, node, {.valid = FATTR_MODE, .mode = 04755}) == -EPERM);
  CHECK(set(guest, node, {.valid = FATTR_MODE, .mode = 02755}) == -EPERM);
  CHECK(set(guest, guest.lookup("d"), {.valid = FATTR_MODE, .mode = 02755}) == 0);
  const fuse_create_in create{.flags = O_RDWR, .mode = S_IFREG | 04755};
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text("b")) == -EPERM);
  CHECK(guest.error_of(FUSE_MKNOD, FUSE_ROOT_ID,
                       bytes_of(fuse_mknod_in{.mode = S_IFREG | 02755}) + text("b")) == -EPERM);
  CHECK(status_of(guest, "a").st_uid == ::geteuid());
}

TEST_CASE(
    "[case 109] attributes: where ids are mapped, what is created is the share's owner's, whoever asks") {
  FuseGuest guest(mapped());
  const bool root = ::geteuid() == 0;
  if (root) REQUIRE(::chown(guest.directory.c_str(), 1234, 1235) == 0);
  FuseGuest again({.options = {.uid = 500, .gid = 501}, .directory = guest.directory});
  for (const u32 id : {0u, 500u, 0x7fffffffu, ~0u}) {
    again.uid = again.gid = id;
    u64 handle = 0;
    const std::string name = fmt::format("f{}", id);
    CHECK(again.create(name, handle) != 0);
    CHECK(status_of(again, name).st_uid == (root ? 1234 : ::geteuid()));
    CHECK(status_of(again, name).st_gid == (root ? 1235 : ::getegid()));
  }
}

TEST_CASE(
    "[case 109] attributes: where ids pass through, what is created is the caller's, and an id that is none "
    "creates nothing") {
  FuseGuest guest;
  if (!guest.fs->server().share.owners.passes_through()) skip("needs root");
  ::chmod(guest.directory.c_str(), 0755);
  for (const u32 id : {0u, 1000u, 0x7fffffffu}) {
    guest.uid = guest.gid = id;
    u64 handle = 0;
    // The guest's kernel has checked that the caller may: by a group that the host does not know of, say.
    CHECK(guest.create(fmt::format("f{}", id), handle) != 0);
    CHECK(status_of(guest, fmt::format("f{}", id)).st_uid == id);
    CHECK(status_of(guest, fmt::format("f{}", id)).st_gid == id);
    CHECK(guest.error_of(FUSE_MKDIR, FUSE_ROOT_ID,
                         bytes_of(fuse_mkdir_in{.mode = 0700}) + text(fmt::format("d{}", id))) == 0);
    CHECK(status_of(guest, fmt::format("d{}", id)).st_uid == id);
    CHECK(guest.error_of(FUSE_SYMLINK, FUSE_ROOT_ID, text(fmt::format("l{}", id)) + text("x")) == 0);
    CHECK(status_of(guest, fmt::format("l{}", id)).st_uid == id);
  }
  for (const auto& [uid, gid] : {std::pair{~0u, 0u}, std::pair{0u, ~0u}}) {
    guest.uid = uid;
    guest.gid = gid;
    CHECK(guest.error_of(FUSE_MKDIR, FUSE_ROOT_ID, bytes_of(fuse_mkdir_in{}) + text("none")) == -EPERM);
  }
  CHECK_FALSE(std::filesystem::exists(guest.path("none")));
  guest.uid = guest.gid = 0;
  CHECK(set(guest, guest.lookup("f0"), {.valid = FATTR_UID | FATTR_GID, .uid = 7, .gid = 8}) == 0);
  CHECK(status_of(guest, "f0").st_uid == 7);
  CHECK(set(guest, guest.lookup("f0"), {.valid = FATTR_UID, .uid = ~0u}) == -EINVAL);
  CHECK(::geteuid() == 0);
}

TEST_CASE(
    "[case 105] attributes: in a set-group-id directory a file gets its group, and no bit that its maker may "
    "not set") {
  FuseGuest guest;
  if (!guest.fs->server().share.owners.passes_through()) skip("needs root");
  std::filesystem::create_directory(guest.path("d"));
  REQUIRE(::chown(guest.path("d").c_str(), 0, 4321) == 0);
  REQUIRE(::chmod(guest.path("d").c_str(), 02777) == 0);
  const u64 directory = guest.lookup("d");
  guest.uid = guest.gid = 1000;
  const fuse_create_in create{.flags = O_RDWR, .mode = S_IFREG | 02775};
  CHECK(guest.error_of(FUSE_CREATE, directory, bytes_of(create) + text("f")) == 0);
  CHECK(status_of(guest, "d/f").st_gid == 4321);
  CHECK((status_of(guest, "d/f").st_mode & 07777) == 0775);
  CHECK(guest.error_of(FUSE_MKDIR, directory, bytes_of(fuse_mkdir_in{.mode = 0755}) + text("sub")) == 0);
  CHECK((status_of(guest, "d/sub").st_mode & 07777) == 02755);
}

TEST_CASE(
    "[cases 104 and 106] attributes: writing, cutting and a new owner take set-id bits and file "
    "capabilities") {
  FuseGuest guest;
  if (!guest.fs->server().share.owners.passes_through()) skip("needs root");
  guest.put("a", "content");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDWR);
  // VFS_CAP_REVISION_2 with CAP_NET_RAW.
  const u8 capability[20] = {0, 0, 0, 2, 0, 0x20};
  const auto arm = [&] {
    REQUIRE(::chmod(guest.path("a").c_str(), 06755) == 0);
    return ::setxattr(guest.path("a").c_str(), "security.capability", capability, sizeof capability, 0) == 0;
  };
  const bool capable = arm();
  const auto disarmed = [&] {
    if (capable) CHECK(::getxattr(guest.path("a").c_str(), "security.capability", nullptr, 0) < 0);
    return (status_of(guest, "a").st_mode & 06000) == 0;
  };
  CHECK(guest.write(node, handle, 0, "x", FUSE_WRITE_KILL_SUIDGID) == 1);
  CHECK(disarmed());
  arm();
  CHECK(set(guest, node, {.valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 1}) == 0);
  CHECK(disarmed());
  arm();
  CHECK(set(guest, node, {.valid = FATTR_UID, .uid = 7}) == 0);
  CHECK(disarmed());
  arm();
  CHECK(guest.error_of(
            FUSE_OPEN, node,
            bytes_of(fuse_open_in{.flags = O_WRONLY | O_TRUNC, .open_flags = FUSE_OPEN_KILL_SUIDGID})) == 0);
  CHECK(disarmed());
  arm();
  const fuse_create_in again{.flags = O_WRONLY | O_TRUNC, .open_flags = FUSE_OPEN_KILL_SUIDGID};
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(again) + text("a")) == 0);
  CHECK(disarmed());
  arm();
  CHECK(guest.write(node, handle, 0, "x") == 1);  // by someone who may
  CHECK((status_of(guest, "a").st_mode & 06000) == 06000);
}

TEST_CASE("[case 104] attributes: allocating and copying take set-id bits, unless root asks for it") {
  FuseGuest guest;
  if (!guest.fs->server().share.owners.passes_through()) skip("needs root");
  guest.put("a", "content");
  guest.put("from", "content");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDWR);
  const u64 from = guest.lookup("from");
  const Bytes allocate = bytes_of(fuse_fallocate_in{.fh = handle, .length = 10});
  const Bytes copy = bytes_of(fuse_copy_file_range_in{
      .fh_in = guest.open(from, O_RDONLY), .nodeid_out = node, .fh_out = handle, .len = 7});
  const auto bits_after = [&](u32 caller, u32 opcode) {
    REQUIRE(::chmod(guest.path("a").c_str(), 06755) == 0);
    guest.uid = caller;
    CHECK(guest.error_of(opcode, opcode == FUSE_FALLOCATE ? node : from,
                         opcode == FUSE_FALLOCATE ? allocate : copy) == 0);
    return status_of(guest, "a").st_mode & 06000;
  };
  for (const u32 opcode : {FUSE_FALLOCATE, FUSE_COPY_FILE_RANGE}) {
    CHECK(bits_after(0, opcode) == 06000);
    CHECK(bits_after(1000, opcode) == 0);
  }
}

TEST_CASE("attributes: a new file's mode follows the caller's umask, or the directory's default list") {
  FuseGuest guest;
  const mode_t mask = ::umask(0077);
  const fuse_create_in create{.flags = O_RDWR, .mode = S_IFREG | 0666, .umask = 0002};
  CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text("a")) == 0);
  CHECK((status_of(guest, "a").st_mode & 07777) == 0664);
  CHECK(guest.error_of(FUSE_MKDIR, FUSE_ROOT_ID,
                       bytes_of(fuse_mkdir_in{.mode = 0777, .umask = 0}) + text("d")) == 0);
  CHECK((status_of(guest, "d").st_mode & 07777) == 0777);
  CHECK(::umask(mask) == 0077);

  if (!guest.fs->server().share.owners.passes_through()) skip("needs root");
  // Version 2; user rwx, group rwx, others nothing.
  const struct {
    u32 version = 2;
    struct {
      u16 tag, permissions;
      u32 id = ~0u;
    } entries[3] = {{0x01, 7}, {0x04, 7}, {0x20, 0}};
  } list;
  CHECK(guest.error_of(FUSE_SETXATTR, guest.lookup("d"), xattr("system.posix_acl_default", bytes_of(list))) ==
        0);
  CHECK(guest.error_of(FUSE_CREATE, guest.lookup("d"), bytes_of(create) + text("f")) == 0);
  CHECK((status_of(guest, "d/f").st_mode & 07777) == 0660);
}

TEST_CASE("[case 107] attributes: extended ones outside of what is allowed are EOPNOTSUPP, and not listed") {
  for (const bool passes : {true, false}) {
    FuseGuest guest(passes ? FuseGuest::Setup{} : mapped());
    if (passes && !guest.fs->server().share.owners.passes_through()) continue;
    guest.put("a", "");
    const u64 node = guest.lookup("a");
    const Bytes value{'v', 0, 'w'};
    CHECK(guest.error_of(FUSE_SETXATTR, node, xattr("user.mine", value)) == 0);
    for (const char* name :
         {"security.selinux", "security.ima", "system.other", "other", "userx", "trusted", ""}) {
      INFO(name);
      const i32 refusal = *name ? -EOPNOTSUPP : -EINVAL;
      CHECK(guest.error_of(FUSE_SETXATTR, node, xattr(name, value)) == refusal);
      CHECK(guest.error_of(FUSE_GETXATTR, node, bytes_of(fuse_getxattr_in{.size = 10}) + text(name)) ==
            refusal);
      CHECK(guest.error_of(FUSE_REMOVEXATTR, node, text(name)) == refusal);
    }
    for (const char* name : {"trusted.overlay.opaque", "system.posix_acl_access", "security.capability"}) {
      if (!passes) CHECK(guest.error_of(FUSE_SETXATTR, node, xattr(name, value)) == -EOPNOTSUPP);
    }
    if (passes) CHECK(guest.error_of(FUSE_SETXATTR, node, xattr("trusted.overlay.opaque", {'y'})) == 0);
    if (::geteuid() == 0) ::setxattr(guest.path("a").c_str(), "security.test", "x", 1, 0);
    const FuseAnswer listed = guest.call(FUSE_LISTXATTR, node, bytes_of(fuse_getxattr_in{.size = 1000}));
    const std::string names(listed.payload.begin(), listed.payload.end());
    CHECK(names.find("user.mine") != names.npos);
    CHECK(names.find("security.") == names.npos);
    CHECK((names.find("trusted.overlay.opaque") != names.npos) == passes);
    CHECK(
        guest.call(FUSE_GETXATTR, node, bytes_of(fuse_getxattr_in{.size = 10}) + text("user.mine")).payload ==
        value);
    // Asked of the open file, where there is one.
    const u64 handle = guest.open(node, O_RDONLY);
    CHECK(
        guest.call(FUSE_GETXATTR, node, bytes_of(fuse_getxattr_in{.size = 10}) + text("user.mine")).payload ==
        value);
    guest.release(node, handle);
    CHECK(guest.error_of(FUSE_REMOVEXATTR, node, text("user.mine")) == 0);
    CHECK(guest.error_of(FUSE_GETXATTR, node, bytes_of(fuse_getxattr_in{.size = 10}) + text("user.mine")) ==
          -ENODATA);
  }
}

TEST_CASE("[case 108] attributes: extended ones with sizes that do not fit") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  const Bytes name = text("user.a");
  CHECK(guest.error_of(FUSE_SETXATTR, node,
                       bytes_of(fuse_setxattr_in{}) + Bytes{'u', 's', 'e', 'r', '.', 'a'}) == -EINVAL);
  CHECK(guest.error_of(FUSE_SETXATTR, node, xattr("user.a", Bytes(65537, 'x'))) == -E2BIG);
  CHECK(guest.error_of(FUSE_SETXATTR, node, xattr("user.a", Bytes(200'000, 'x'))) == -E2BIG);
  CHECK(guest.error_of(FUSE_SETXATTR, node, bytes_of(fuse_setxattr_in{.size = 5}) + name + Bytes(4)) ==
        -EINVAL);
  CHECK(guest.error_of(FUSE_SETXATTR, node, bytes_of(fuse_setxattr_in{.flags = 4}) + name) == -EINVAL);
  CHECK(guest.error_of(FUSE_SETXATTR, node, xattr("user." + std::string(251, 'n'), {'v'})) == -ERANGE);
  CHECK(guest.error_of(FUSE_SETXATTR, node, xattr("user.a", Bytes(100, 'x'))) == 0);
  const auto get = [&](u32 size, u32 room = 4096) {
    return guest.call(FUSE_GETXATTR, node, bytes_of(fuse_getxattr_in{.size = size}) + name, room);
  };
  CHECK(get(0).as<fuse_getxattr_out>().size == 100);
  CHECK(get(99).error == -ERANGE);
  CHECK(get(100).payload.size() == 100);
  CHECK(get(~u32{0}).payload.size() == 100);
  CHECK(get(100, 16 + 99).error == -ERANGE);
  const auto list = [&](u32 size) {
    return guest.call(FUSE_LISTXATTR, node, bytes_of(fuse_getxattr_in{.size = size}));
  };
  CHECK(list(0).as<fuse_getxattr_out>().size == 7);
  CHECK(list(6).error == -ERANGE);
  CHECK(list(7).payload == name);
}

TEST_CASE("attributes: a guest without SETXATTR_EXT sends shorter requests") {
  FuseGuest guest({.flags = ~u64{FUSE_SETXATTR_EXT}});
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  const Bytes request = bytes_of(u64{1}) + text("user.a") + Bytes{'v'};
  CHECK(guest.error_of(FUSE_SETXATTR, node, request) == 0);
  CHECK(guest.call(FUSE_GETXATTR, node, bytes_of(fuse_getxattr_in{.size = 10}) + text("user.a")).payload ==
        Bytes{'v'});
}

TEST_CASE("attributes: an access list set by who is not of the file's group takes its set-group-id bit") {
  FuseGuest guest;
  if (!guest.fs->server().share.owners.passes_through()) skip("needs root");
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  // Version 2; user rwx, group r-x, others r-x.
  const struct {
    u32 version = 2;
    struct {
      u16 tag, permissions;
      u32 id = ~0u;
    } entries[3] = {{0x01, 7}, {0x04, 5}, {0x20, 5}};
  } list;
  for (const u32 flags : {0u, u32{FUSE_SETXATTR_ACL_KILL_SGID}}) {
    REQUIRE(::chmod(guest.path("a").c_str(), 06755) == 0);
    const fuse_setxattr_in arguments{.size = sizeof list, .setxattr_flags = flags};
    CHECK(guest.error_of(FUSE_SETXATTR, node,
                         bytes_of(arguments) + text("system.posix_acl_access") + bytes_of(list)) == 0);
    CHECK((status_of(guest, "a").st_mode & 07777) == (flags ? 04755 : 06755));
  }
}

TEST_CASE("[case 116] attributes: on a read-only share everything that changes something is EROFS") {
  FuseGuest guest({.options = {.read_only = true}});
  guest.put("a", "content");
  ::usleep(20'000);
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDONLY);
  const struct stat before = status_of(guest, "a");
  const Bytes name = text("b");
  const struct {
    u32 opcode;
    Bytes arguments;
  } requests[] = {
      {FUSE_SETATTR, bytes_of(fuse_setattr_in{.valid = FATTR_MODE, .mode = 0777})},
      {FUSE_SETATTR, bytes_of(fuse_setattr_in{.valid = FATTR_MTIME | FATTR_MTIME_NOW})},
      {FUSE_MKNOD, bytes_of(fuse_mknod_in{.mode = S_IFREG}) + name},
      {FUSE_MKDIR, bytes_of(fuse_mkdir_in{}) + name},
      {FUSE_SYMLINK, name + name},
      {FUSE_CREATE, bytes_of(fuse_create_in{}) + name},
      {FUSE_TMPFILE, bytes_of(fuse_create_in{.flags = O_RDWR})},
      {FUSE_UNLINK, text("a")},
      {FUSE_RMDIR, text("a")},
      {FUSE_RENAME, bytes_of(fuse_rename_in{.newdir = 1}) + text("a") + name},
      {FUSE_RENAME2, bytes_of(fuse_rename2_in{.newdir = 1}) + text("a") + name},
      {FUSE_LINK, bytes_of(fuse_link_in{.oldnodeid = node}) + name},
      {FUSE_WRITE, bytes_of(fuse_write_in{.fh = handle, .size = 1}) + Bytes(1)},
      {FUSE_FALLOCATE, bytes_of(fuse_fallocate_in{.fh = handle, .length = 1})},
      {FUSE_COPY_FILE_RANGE,
       bytes_of(fuse_copy_file_range_in{.fh_in = handle, .nodeid_out = node, .fh_out = handle, .len = 1})},
      {FUSE_SETXATTR, xattr("user.a", {'v'})},
      {FUSE_REMOVEXATTR, text("user.a")},
      {FUSE_OPEN, bytes_of(fuse_open_in{.flags = O_WRONLY})},
      {FUSE_OPEN, bytes_of(fuse_open_in{.flags = O_RDWR})},
      {FUSE_OPEN, bytes_of(fuse_open_in{.flags = O_RDONLY | O_TRUNC})},
      {FUSE_ACCESS, bytes_of(fuse_access_in{.mask = W_OK})},
      {FUSE_IOCTL, bytes_of(fuse_ioctl_in{.fh = handle, .cmd = FS_IOC_SETFLAGS, .in_size = 4}) + Bytes(4)},
  };
  for (const auto& request : requests) {
    INFO(request.opcode);
    CHECK(guest.error_of(request.opcode, node, request.arguments) == -EROFS);
    if (request.opcode != FUSE_IOCTL && request.opcode != FUSE_OPEN)
      CHECK(guest.error_of(request.opcode, FUSE_ROOT_ID, request.arguments) == -EROFS);
  }
  CHECK(guest.read(node, handle, 0, 100).size() == 7);
  CHECK(guest.get("a") == "content");
  CHECK(status_of(guest, "a").st_ctim.tv_nsec == before.st_ctim.tv_nsec);
  CHECK(std::distance(std::filesystem::directory_iterator(guest.directory), {}) == 1);
}

TEST_CASE("attributes: access by owner and mode") {
  FuseGuest guest(mapped(500, 501));
  guest.put("a", "");
  ::chmod(guest.path("a").c_str(), 0640);
  const u64 node = guest.lookup("a");
  const auto may = [&](u32 uid, u32 gid, u32 mask) {
    guest.uid = uid;
    guest.gid = gid;
    return guest.error_of(FUSE_ACCESS, node, bytes_of(fuse_access_in{.mask = mask}));
  };
  CHECK(may(500, 0, R_OK | W_OK) == 0);
  CHECK(may(500, 0, X_OK) == -EACCES);
  CHECK(may(9, 501, R_OK) == 0);
  CHECK(may(9, 501, W_OK) == -EACCES);
  CHECK(may(9, 9, R_OK) == -EACCES);
  CHECK(may(9, 9, F_OK) == 0);
  CHECK(may(0, 0, R_OK | W_OK) == 0);
  CHECK(may(0, 0, X_OK) == -EACCES);
  CHECK(may(0, 0, 8) == -EINVAL);
}

}  // namespace
}  // namespace uvmm
