// SPDX-License-Identifier: Apache-2.0
// Unpacking a kernel's payload. A function of its arguments; any thread.
#pragma once

#include <span>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

// Unpacks `packed`, whose compression shows in its first bytes: any that a Linux kernel can be built with
// (gzip, xz, lzma, zstd, lz4, bzip2, lzo). It must yield exactly unpacked.size() bytes. What follows the
// compressed stream is left alone. The bytes are trusted in nothing; beyond `unpacked`, at most 256 MiB of
// memory are used.
Result<void> decompress(std::span<const u8> packed, std::span<u8> unpacked);

// Whether decompress() knows the compression.
bool is_compressed(std::span<const u8> packed);

}  // namespace uvmm
