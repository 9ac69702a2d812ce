// SPDX-License-Identifier: Apache-2.0
// Attributes of chattr(1).
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <catch2/catch.hpp>
#include <optional>

#include "tests/fakes/fuse_guest.h"
#include "tests/fakes/skip.h"

namespace uvmm {
namespace {

TEST_CASE("[case 111] ioctl: of all ioctls there are those of lsattr and chattr, and no other") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDWR);
  for (const u32 command :
       {0u, 0x5401u, 0x5413u, u32{FICLONE}, u32{FS_IOC_FIEMAP}, u32{BLKGETSIZE64}, u32{FIFREEZE}, ~0u})
    CHECK(guest.error_of(FUSE_IOCTL, node,
                         bytes_of(fuse_ioctl_in{.fh = handle, .cmd = command, .in_size = 4, .out_size = 4}) +
                             Bytes(4)) == -ENOTTY);
  const fuse_ioctl_in unrestricted{
      .fh = handle, .flags = FUSE_IOCTL_UNRESTRICTED, .cmd = FS_IOC_GETFLAGS, .out_size = 4};
  CHECK(guest.error_of(FUSE_IOCTL, node, bytes_of(unrestricted)) == -ENOTTY);
  CHECK(guest.error_of(FUSE_IOCTL, node,
                       bytes_of(fuse_ioctl_in{.fh = handle, .cmd = FS_IOC_GETFLAGS, .out_size = 3})) ==
        -EINVAL);
  CHECK(guest.error_of(FUSE_IOCTL, node,
                       bytes_of(fuse_ioctl_in{.fh = handle, .cmd = FS_IOC_SETFLAGS, .in_size = 4})) ==
        -EINVAL);
}

// The host's, or nothing where its file system has none.
std::optional<u32> host_flags(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  u32 flags = 0;
  return ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0 ? std::optional(flags) : std::nullopt;
}

TEST_CASE("ioctl: lsattr and chattr see and change the host's") {
  for (const bool passes : {true, false}) {
    FuseGuest guest(passes ? FuseGuest::Setup{} : FuseGuest::Setup{.options = {.uid = 500, .gid = 501}});
    if (passes && !guest.fs->server().share.owners.passes_through()) continue;
    guest.put("a", "");
    const std::optional<u32> before = host_flags(guest.path("a"));
    if (!before) skip("no file attributes in /tmp");
    const u64 node = guest.lookup("a");
    const u64 handle = guest.open(node, O_RDWR);
    const auto get = [&](u32 command, u32 bytes) {
      return guest.call(FUSE_IOCTL, node,
                        bytes_of(fuse_ioctl_in{.fh = handle, .cmd = command, .out_size = bytes}));
    };
    const auto set = [&](u32 command, const Bytes& value) {
      const auto bytes = static_cast<u32>(value.size());
      return guest.error_of(FUSE_IOCTL, node,
                            bytes_of(fuse_ioctl_in{.fh = handle, .cmd = command, .in_size = bytes}) + value);
    };
    const FuseAnswer flags = get(FS_IOC_GETFLAGS, 4);
    CHECK(flags.payload.size() == sizeof(fuse_ioctl_out) + 4);
    CHECK(flags.as<u32>(sizeof(fuse_ioctl_out)) == *before);
    // Where ids are mapped nothing is set with this process's power.
    CHECK(set(FS_IOC_SETFLAGS, bytes_of(*before | FS_NODUMP_FL)) == (passes ? 0 : -EPERM));
    CHECK(host_flags(guest.path("a")) == (passes ? *before | FS_NODUMP_FL : *before));

    const FuseAnswer extended = get(FS_IOC_FSGETXATTR, sizeof(struct fsxattr));
    REQUIRE(extended.error == 0);
    auto attributes = extended.as<struct fsxattr>(sizeof(fuse_ioctl_out));
    CHECK(((attributes.fsx_xflags & FS_XFLAG_NODUMP) != 0) == passes);
    attributes.fsx_xflags = (attributes.fsx_xflags & ~u32{FS_XFLAG_NODUMP}) | FS_XFLAG_NOATIME;
    CHECK(set(FS_IOC_FSSETXATTR, bytes_of(attributes)) == (passes ? 0 : -EPERM));
    CHECK(host_flags(guest.path("a")) == (passes ? *before | FS_NOATIME_FL : *before));
  }
}

TEST_CASE("ioctl: a file that may only be appended to can be opened for that, and for nothing else") {
  FuseGuest guest;
  if (!guest.fs->server().share.owners.passes_through()) skip("needs root");
  guest.put("a", "one");
  const Fd file(::open(guest.path("a").c_str(), O_RDONLY | O_CLOEXEC));
  u32 flags = 0;
  if (::ioctl(file.get(), FS_IOC_GETFLAGS, &flags) < 0) skip("no file attributes in /tmp");
  const u32 append_only = flags | FS_APPEND_FL;
  REQUIRE(::ioctl(file.get(), FS_IOC_SETFLAGS, &append_only) == 0);
  const u64 node = guest.lookup("a");
  const i32 refused = guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{.flags = O_WRONLY}));
  const i32 truncated =
      guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{.flags = O_WRONLY | O_APPEND | O_TRUNC}));
  const FuseAnswer opened = guest.call(FUSE_OPEN, node, bytes_of(fuse_open_in{.flags = O_WRONLY | O_APPEND}));
  const i64 written = opened.error == 0 ? guest.write(node, opened.as<fuse_open_out>().fh, 3, " two") : 0;
  REQUIRE(::ioctl(file.get(), FS_IOC_SETFLAGS, &flags) == 0);  // so that it can be removed
  CHECK(refused == -EPERM);
  CHECK(truncated == -EPERM);
  CHECK(opened.error == 0);
  CHECK(written == 4);
  CHECK(guest.get("a") == "one two");
}

}  // namespace
}  // namespace uvmm
