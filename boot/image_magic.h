// SPDX-License-Identifier: Apache-2.0
// The file system that a disk image holds, by its magic number. A function of the file; any thread.
#pragma once

#include <string_view>

#include "vmm/base/types.h"

namespace uvmm {

enum class ImageFormat : u8 { kUnknown, kErofs, kSquashfs, kExt4, kXfs, kBtrfs };

// kExt4 stands for ext2 and ext3, too: Linux mounts them with its ext4. A file that cannot be read is
// kUnknown. Works on a descriptor with O_DIRECT.
ImageFormat image_format(int fd);

// Linux's name for it, as in rootfstype=; empty for kUnknown.
std::string_view file_system_name(ImageFormat format);

// Whether such a file system is never written.
constexpr bool is_read_only(ImageFormat format) {
  return format == ImageFormat::kErofs || format == ImageFormat::kSquashfs;
}

}  // namespace uvmm
