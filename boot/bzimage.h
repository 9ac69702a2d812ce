// SPDX-License-Identifier: Apache-2.0
// The bzImage format (Linux, Documentation/arch/x86/boot.rst): where its parts are, checked. Values only.
#pragma once

#include <asm/bootparam.h>

#include <cstddef>
#include <span>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

// Enough of the file for parse_bzimage: boot sector and setup header.
inline constexpr u64 kBzImageHeadBytes = offsetof(boot_params, hdr) + sizeof(setup_header);

struct BzImage {
  setup_header header{};   // fields that this version of the header does not have are 0
  u64 payload_offset = 0;  // in the file: the compressed vmlinux, then its size as le32
  u64 payload_bytes = 0;
};

// Whether `head` says that it is one, well-formed or not.
bool looks_like_bzimage(std::span<const u8> head);

// `head` is the start of a file of `file_bytes`, `low_ram_bytes` what the guest has from address 0 on. Every
// field of the result lies within those.
Result<BzImage> parse_bzimage(std::span<const u8> head, u64 file_bytes, u64 low_ram_bytes);

}  // namespace uvmm
