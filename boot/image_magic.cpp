// SPDX-License-Identifier: Apache-2.0
#include "boot/image_magic.h"

#include <linux/magic.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace uvmm {
namespace {

// Where Linux's file systems keep their magic numbers.
constexpr u64 kExt4At = 1024 + 0x38;
constexpr u64 kErofsAt = 1024;
constexpr u64 kBtrfsPage = 64_KiB;
constexpr u64 kBtrfsAt = 0x40;  // in that page
constexpr char kBtrfsMagic[] = "_BHRfS_M";
constexpr char kXfsMagic[] = "XFSB";

// O_DIRECT wants address, offset and length aligned.
struct alignas(kPageSize) Page {
  std::array<u8, kPageSize> bytes{};

  template <typename T>
  bool has(u64 offset, T magic) const {
    return std::memcmp(&bytes[offset], &magic, sizeof(magic)) == 0;
  }
  bool has_text(u64 offset, const char* magic) const {
    return std::memcmp(&bytes[offset], magic, std::strlen(magic)) == 0;
  }
};

// What the file lacks of the page is zero.
Page read_page(int fd, u64 offset) {
  Page page;
  ssize_t done;
  do done = ::pread(fd, page.bytes.data(), page.bytes.size(), static_cast<off_t>(offset));
  while (done < 0 && errno == EINTR);
  return page;
}

}  // namespace

ImageFormat image_format(int fd) {
  const Page first = read_page(fd, 0);
  if (first.has(kErofsAt, le32{EROFS_SUPER_MAGIC_V1})) return ImageFormat::kErofs;
  if (first.has(0, le32{SQUASHFS_MAGIC})) return ImageFormat::kSquashfs;
  if (first.has(kExt4At, le16{EXT4_SUPER_MAGIC})) return ImageFormat::kExt4;
  if (first.has_text(0, kXfsMagic)) return ImageFormat::kXfs;
  if (read_page(fd, kBtrfsPage).has_text(kBtrfsAt, kBtrfsMagic)) return ImageFormat::kBtrfs;
  return ImageFormat::kUnknown;
}

std::string_view file_system_name(ImageFormat format) {
  switch (format) {
    case ImageFormat::kErofs:
      return "erofs";
    case ImageFormat::kSquashfs:
      return "squashfs";
    case ImageFormat::kExt4:
      return "ext4";
    case ImageFormat::kXfs:
      return "xfs";
    case ImageFormat::kBtrfs:
      return "btrfs";
    case ImageFormat::kUnknown:
      break;
  }
  return {};
}

}  // namespace uvmm
