// SPDX-License-Identifier: Apache-2.0
#include "boot/bzimage.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "arch/x86_64/layout.h"

namespace uvmm {
namespace {

constexpr u64 kSectorBytes = 512;
constexpr u64 kHeaderOffset = 0x1f1;
constexpr u16 kBootFlag = 0xAA55;
constexpr u32 kHeaderMagic = 0x5372'6448;  // "HdrS"
// 2.12 (Linux 3.8) brought xloadflags, which say whether it is a 64-bit kernel. virtio 1.0 came later.
constexpr u16 kOldestVersion = 0x020c;
constexpr u64 kShortestHeader = offsetof(setup_header, handover_offset);
static_assert(offsetof(boot_params, hdr) == kHeaderOffset);
static_assert(kHeaderOffset + offsetof(setup_header, jump) == 0x200);

// The two-byte jump at 0x200 leads over the header, which tells how long this version's is (boot.rst,
// "the 32-bit boot protocol": 0x0202 + the byte at 0x0201).
u64 header_bytes(u16 jump) {
  return 0x202 + (jump >> 8) - kHeaderOffset;
}

Result<void> check_placement(const setup_header& header, u64 low_ram_bytes) {
  const u64 alignment = header.kernel_alignment;
  if (!std::has_single_bit(alignment) || header.pref_address % alignment != 0)
    return fail(ErrorKind::kBadData, "it wants to be at {:#x}, aligned to {:#x}", u64{header.pref_address},
                alignment);
  if (header.pref_address < layout::kHighMemory)
    return fail(ErrorKind::kBadData, "it wants to be at {:#x}, below 1 MiB", u64{header.pref_address});
  if (header.pref_address > low_ram_bytes || header.init_size > low_ram_bytes - header.pref_address)
    return with_hint(fail(ErrorKind::kBadData, "it needs {:#x} bytes of memory at {:#x}, the guest has {:#x}",
                          u32{header.init_size}, u64{header.pref_address}, low_ram_bytes),
                     "give the guest more memory");
  return {};
}

}  // namespace

bool looks_like_bzimage(std::span<const u8> head) {
  u32 magic = 0;
  if (head.size() < 0x206) return false;
  std::memcpy(&magic, &head[0x202], sizeof(magic));
  return magic == kHeaderMagic;
}

Result<BzImage> parse_bzimage(std::span<const u8> head, u64 file_bytes, u64 low_ram_bytes) {
  if (head.size() < kBzImageHeadBytes) return fail(ErrorKind::kBadData, "it ends within its header");
  BzImage image;
  setup_header& header = image.header;
  std::memcpy(&header, &head[kHeaderOffset], sizeof(header));
  if (header.header != kHeaderMagic || header.boot_flag != kBootFlag)
    return fail(ErrorKind::kBadData, "it has no boot flag");
  if (header.version < kOldestVersion)
    return fail(ErrorKind::kBadData, "it has boot protocol {}.{}, 2.12 (Linux 3.8) is the oldest supported",
                header.version >> 8, header.version & 0xff);
  const u64 used = header_bytes(header.jump);
  if (used < kShortestHeader)
    return fail(ErrorKind::kBadData, "it has a header of {} bytes, too short for its version", used);
  if (used < sizeof(header)) std::memset(reinterpret_cast<u8*>(&header) + used, 0, sizeof(header) - used);
  if ((header.xloadflags & XLF_KERNEL_64) == 0)
    return fail(ErrorKind::kBadData, "it is a 32-bit kernel, which is not supported");

  // boot.rst: for compatibility, 0 means 4.
  const u64 setup_sectors = header.setup_sects == 0 ? 4 : header.setup_sects;
  const u64 setup_bytes = (setup_sectors + 1) * kSectorBytes;
  if (setup_bytes >= file_bytes)
    return fail(ErrorKind::kBadData, "it has {} setup sectors in {} bytes", setup_sectors, file_bytes);
  const u64 available = file_bytes - setup_bytes;
  if (header.payload_offset > available || header.payload_length > available - header.payload_offset)
    return fail(ErrorKind::kBadData,
                "it has a payload of {} bytes at {:#x}, which is beyond the file's {} bytes",
                u32{header.payload_length}, setup_bytes + header.payload_offset, file_bytes);
  if (header.payload_length <= sizeof(le32)) return fail(ErrorKind::kBadData, "it has no payload");
  image.payload_offset = setup_bytes + header.payload_offset;
  image.payload_bytes = header.payload_length;
  UVMM_CHECK(check_placement(header, low_ram_bytes));
  return image;
}

}  // namespace uvmm
