// SPDX-License-Identifier: Apache-2.0
#include "boot/cmdline.h"

#include <catch2/catch.hpp>

using namespace uvmm;

namespace {

std::string build(const CmdlineSource& source) {
  const auto text = build_cmdline(source, 2047);
  return text ? *text : text.error().message;
}

const CmdlineDisk kErofsDisk = {.format = ImageFormat::kErofs};
const CmdlineDisk kExt4Disk = {.format = ImageFormat::kExt4};

}  // namespace

TEST_CASE("cmdline: the default") {
  CHECK(build({}) == "console=hvc0 panic=-1 reboot=t");
}

TEST_CASE("cmdline: no console, no console=") {
  CHECK(build({.console = false}) == "panic=-1 reboot=t");
}

TEST_CASE("cmdline: earlycon names the port") {
  CHECK(build({.earlycon = true}) == "earlycon=uart8250,io,0x3f8 console=hvc0 panic=-1 reboot=t");
}

TEST_CASE("cmdline: the user's text comes last") {
  CHECK(build({.text = "quiet panic=5"}) == "console=hvc0 panic=-1 reboot=t quiet panic=5");
}

TEST_CASE("cmdline: without the default the user's text is all") {
  const CmdlineDisk disks[] = {kErofsDisk};
  CHECK(build({.text = "a b", .default_text = false, .earlycon = true, .disks = disks}) == "a b");
  CHECK(build({.default_text = false}).empty());
}

TEST_CASE("cmdline: the first disk is the root if nothing else is") {
  const CmdlineDisk disks[] = {kErofsDisk, kExt4Disk};
  CHECK(build({.disks = disks}) == "console=hvc0 panic=-1 reboot=t root=/dev/vda rootfstype=erofs ro");
}

TEST_CASE("cmdline: a disk that can be written is mounted rw, one that cannot ro") {
  CmdlineDisk disk = kExt4Disk;
  CHECK(build({.console = false, .disks = {&disk, 1}}) ==
        "panic=-1 reboot=t root=/dev/vda rootfstype=ext4 rw");
  disk.read_only = true;
  CHECK(build({.console = false, .disks = {&disk, 1}}) ==
        "panic=-1 reboot=t root=/dev/vda rootfstype=ext4 ro");
}

TEST_CASE("cmdline: a file system that is not known is left to the guest") {
  const CmdlineDisk disk;
  CHECK(build({.console = false, .disks = {&disk, 1}}) == "panic=-1 reboot=t root=/dev/vda rw");
}

TEST_CASE("cmdline: an initrd or a root= of the user's leaves the root to them") {
  const CmdlineDisk disks[] = {kErofsDisk};
  CHECK(build({.initrd = true, .disks = disks}) == "console=hvc0 panic=-1 reboot=t");
  CHECK(build({.text = "a root=/dev/vdb", .disks = disks}) ==
        "console=hvc0 panic=-1 reboot=t a root=/dev/vdb");
}

TEST_CASE("cmdline: only a word root= is a root=") {
  const CmdlineDisk disks[] = {kErofsDisk};
  const std::string text = GENERATE("nfsroot=x", "x=\"a root=b\"", "-- root=/dev/vdb", "rootwait");
  CHECK(build({.text = text, .disks = disks}) ==
        "console=hvc0 panic=-1 reboot=t root=/dev/vda rootfstype=erofs ro " + text);
}

TEST_CASE("cmdline: a disk flagged as root is named even with an initrd") {
  const CmdlineDisk disks[] = {kErofsDisk, {.root = true, .format = ImageFormat::kXfs}};
  CHECK(build({.initrd = true, .disks = disks}) ==
        "console=hvc0 panic=-1 reboot=t root=/dev/vdb rootfstype=xfs rw");
}

TEST_CASE("cmdline: disks after vdz are vdaa and so on") {
  CHECK(disk_name(0) == "vda");
  CHECK(disk_name(25) == "vdz");
  CHECK(disk_name(26) == "vdaa");
  CHECK(disk_name(51) == "vdaz");
  CHECK(disk_name(52) == "vdba");
  CHECK(disk_name(701) == "vdzz");
  CHECK(disk_name(702) == "vdaaa");
}

TEST_CASE("cmdline: [case 156] one over the limit is refused, one at the limit is not") {
  CHECK(build_cmdline({.text = "12345678", .default_text = false}, 8));
  const auto text = build_cmdline({.text = "123456789", .default_text = false}, 8);
  REQUIRE(!text);
  CHECK_THAT(text.error().message, Catch::Contains("9 bytes, the kernel takes 8"));
}

TEST_CASE("cmdline: [case 156] a NUL or a newline inside is refused") {
  CHECK_THAT(build({.text = std::string_view("a\0b", 3)}), Catch::Contains("NUL"));
  CHECK_THAT(build({.text = "a\nb"}), Catch::Contains("newline"));
}
