// SPDX-License-Identifier: Apache-2.0
#include "boot/image_magic.h"

#include <fcntl.h>

#include <catch2/catch.hpp>

#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/skip.h"
#include "vmm/base/fd.h"

using namespace uvmm;

namespace {

ImageFormat format_of(const std::string& path, int flags = 0) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  REQUIRE(fd);
  return image_format(fd.get());
}

ImageFormat format_with(u64 offset, std::string_view magic) {
  const TemporaryDirectory directory;
  std::string content(128_KiB, '\0');
  content.replace(offset, magic.size(), magic);
  return format_of(directory.file("image", content));
}

}  // namespace

TEST_CASE("image magic: each file system at its place") {
  CHECK(format_with(1024, "\xe2\xe1\xf5\xe0") == ImageFormat::kErofs);
  CHECK(format_with(0, "hsqs") == ImageFormat::kSquashfs);
  CHECK(format_with(1024 + 0x38, "\x53\xef") == ImageFormat::kExt4);
  CHECK(format_with(0, "XFSB") == ImageFormat::kXfs);
  CHECK(format_with(65536 + 64, "_BHRfS_M") == ImageFormat::kBtrfs);
}

TEST_CASE("image magic: what the programs make") {
  const TemporaryDirectory directory;
  const std::string image = directory.path("image");
  const auto check = [&](const std::string& program, const std::string& command, ImageFormat format) {
    if (!has_command(program)) skip("no program " + program);
    directory.sparse_file("image", 320_MiB);
    INFO(command);
    REQUIRE(run("PATH=$PATH:/usr/sbin:/sbin; " + command + " >/dev/null 2>&1") == 0);
    CHECK(format_of(image) == format);
    CHECK(format_of(image, O_DIRECT) == format);
  };
  check("mke2fs", "mke2fs -q -t ext4 " + image, ImageFormat::kExt4);
  check("mke2fs", "mke2fs -q -t ext2 " + image, ImageFormat::kExt4);
  check("mkfs.erofs", "mkfs.erofs " + image + " /etc/apt", ImageFormat::kErofs);
  check("mksquashfs", "mksquashfs /etc/apt " + image + " -noappend", ImageFormat::kSquashfs);
  check("mkfs.xfs", "mkfs.xfs -q -f " + image, ImageFormat::kXfs);
  check("mkfs.btrfs", "mkfs.btrfs -q -f " + image, ImageFormat::kBtrfs);
}

TEST_CASE("image magic: nothing known, nothing there") {
  const TemporaryDirectory directory;
  CHECK(format_of(directory.file("empty", "")) == ImageFormat::kUnknown);
  CHECK(format_of(directory.file("short", "hsq")) == ImageFormat::kUnknown);
  CHECK(format_of(directory.file("noise", pattern(128_KiB))) == ImageFormat::kUnknown);
  CHECK(format_of("/") == ImageFormat::kUnknown);
  CHECK(image_format(-1) == ImageFormat::kUnknown);
}

TEST_CASE("image magic: names as Linux has them, and which are read-only") {
  CHECK(file_system_name(ImageFormat::kErofs) == "erofs");
  CHECK(file_system_name(ImageFormat::kBtrfs) == "btrfs");
  CHECK(file_system_name(ImageFormat::kUnknown).empty());
  CHECK(is_read_only(ImageFormat::kSquashfs));
  CHECK_FALSE(is_read_only(ImageFormat::kExt4));
  CHECK_FALSE(is_read_only(ImageFormat::kUnknown));
}
