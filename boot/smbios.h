// SPDX-License-Identifier: Apache-2.0
// The SMBIOS tables (DMTF DSP0134, 3.x): what the guest reads of its vendor, its UUID, and the strings that
// systemd takes credentials from. Before the guest runs; any one thread.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

using Uuid = std::array<u8, 16>;  // in the order in which people write it

// "01234567-89ab-cdef-0123-456789abcdef"; nothing if it is none.
std::optional<Uuid> parse_uuid(std::string_view text);

struct SmbiosInfo {
  Uuid uuid{};  // all zero: not set, as the specification has it
  // Type 11, OEM strings. No string is empty or has a NUL in it, and there are at most 255.
  std::span<const std::string> oem_strings;
};

// Writes the 64-bit entry point to the start of layout::kSmbios, where a guest without EFI looks for it, and
// the structures behind it.
Result<void> write_smbios_tables(const GuestMemory& memory, const SmbiosInfo& info);

}  // namespace uvmm
