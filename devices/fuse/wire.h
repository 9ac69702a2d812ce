// SPDX-License-Identifier: Apache-2.0
// The FUSE protocol's numbers and structures. Values only. They come from the kernel's header, which Debian
// 12 has of protocol 7.38; here is what it lacks.
#pragma once

#include <linux/fuse.h>
#include <sys/stat.h>

#include "vmm/base/types.h"

namespace uvmm::fuse {

// What this server speaks (FUSE_STATX came with 7.39), and the oldest that it agrees to.
inline constexpr u32 kMajor = 7;
inline constexpr u32 kMinor = 39;
inline constexpr u32 kOldestMinor = 31;

inline constexpr u32 kStatx = 52;                        // FUSE_STATX
inline constexpr u64 kDirectIoAllowMmap = u64{1} << 36;  // FUSE_DIRECT_IO_ALLOW_MMAP
inline constexpr u32 kOpcodes = 64;                      // more than any of them

struct fuse_statx_in {
  u32 getattr_flags;
  u32 reserved;
  u64 fh;
  u32 sx_flags;
  u32 sx_mask;
};

// `stat` is struct statx with nothing after the device numbers.
struct fuse_statx_out {
  u64 attr_valid;
  u32 attr_valid_nsec;
  u32 flags;
  u64 spare[2];
  struct statx stat;
};

static_assert(sizeof(fuse_in_header) == 40);
static_assert(sizeof(fuse_out_header) == 16);
static_assert(sizeof(fuse_attr) == 88);
static_assert(sizeof(fuse_entry_out) == 128);
static_assert(sizeof(fuse_init_in) == 64 && sizeof(fuse_init_out) == 64);
static_assert(sizeof(fuse_setattr_in) == 88);
static_assert(sizeof(fuse_read_in) == 40 && sizeof(fuse_write_in) == 40);
static_assert(sizeof(fuse_setxattr_in) == 16);
static_assert(sizeof(fuse_lk_in) == 48);
static_assert(sizeof(fuse_copy_file_range_in) == 56);
static_assert(sizeof(fuse_statx_in) == 24 && sizeof(fuse_statx_out) == 288);

}  // namespace uvmm::fuse
