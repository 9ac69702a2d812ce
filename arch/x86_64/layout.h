// SPDX-License-Identifier: Apache-2.0
// The guest-physical address map and the I/O ports, in one place. Constants only.
//
//   0x0000'0500  the boot GDT                         0xD000'0000  32-bit PCI memory window
//   0x0000'7000  boot_params (the "zero page")        0xE000'0000  ECAM of PCI bus 0
//   0x0000'9000  page tables for the first entry      0xFEE0'0000  local APIC
//   0x0002'0000  kernel command line                0x1'0000'0000  RAM beyond the first 3 GiB
//   0x000E'0000  ACPI tables, RSDP first
//   0x0010'0000  kernel, and the initrd as high as it may be
#pragma once

#include <array>

#include "vmm/base/types.h"

namespace uvmm::layout {

struct Range {
  u64 start = 0;
  u64 bytes = 0;

  constexpr u64 end() const { return start + bytes; }
  friend constexpr bool operator==(const Range&, const Range&) = default;
};

// RAM is [0, 3 GiB), and what is more than that from 4 GiB on: the hole between has the PCI windows and the
// APIC.
inline constexpr u64 kHoleStart = 0xC000'0000;
inline constexpr u64 kHoleEnd = 4_GiB;

struct RamRanges {
  std::array<Range, 2> ranges;
  std::size_t count = 0;

  constexpr const Range* begin() const { return ranges.data(); }
  constexpr const Range* end() const { return ranges.data() + count; }
  constexpr std::size_t size() const { return count; }
};

// Where `bytes` of RAM lie: one range or two, ascending.
constexpr RamRanges ram_ranges(u64 bytes) {
  if (bytes <= kHoleStart) return {{Range{0, bytes}}, 1};
  return {{Range{0, kHoleStart}, Range{kHoleEnd, bytes - kHoleStart}}, 2};
}

// Low memory, used once, to enter the kernel.
inline constexpr u64 kBootGdt = 0x500;
inline constexpr u64 kBootParams = 0x7000;
inline constexpr u64 kPageTables = 0x9000;  // up to kCmdline
inline constexpr u64 kCmdline = 0x2'0000;
inline constexpr u64 kCmdlineBytes = 0x1'0000;  // room for any cmdline_size a kernel declares in practice
inline constexpr u64 kLowMemoryEnd = 0x9'FC00;  // the e820 map gives the guest what is below
inline constexpr Range kAcpiTables = {0xE'0000, 0x1'0000};
inline constexpr Range kSmbios = {0xF'0000, 0x1'0000};  // nothing there yet; reserved in the e820 map
inline constexpr u64 kHighMemory = 1_MiB;               // kernel and initrd stay above

// PCI: segment 0, bus 0 only (32 devices with 8 functions of 4 KiB).
inline constexpr Range kPciWindow = {0xD000'0000, 0x1000'0000};
inline constexpr Range kEcam = {0xE000'0000, 1_MiB};

inline constexpr u64 kLocalApic = 0xFEE0'0000;

// I/O ports, a byte each. The first three are named by the FADT (ACPI 6.5, 4.8.3.6 and 4.8.3.7).
inline constexpr u16 kResetPort = 0x600;
inline constexpr u8 kResetValue = 0x42;
inline constexpr u16 kSleepControlPort = 0x601;
inline constexpr u16 kSleepStatusPort = 0x602;
inline constexpr u8 kSleepTypeOff = 5;  // SLP_TYP of \_S5
// The guest writes here SLP_TYP << 2 | SLP_EN (ACPI 6.5, table 4.19).
inline constexpr u8 kSleepEnable = 1 << 5;
inline constexpr u8 sleep_type(u8 control) {
  return control >> 2 & 7;
}

inline constexpr u16 kPanicPort = 0x505;     // pvpanic: bit 0 says that the guest's kernel panicked
inline constexpr u16 kEarlyconPort = 0x3F8;  // 8 ports, only with earlycon
inline constexpr u16 kEarlyconPorts = 8;

static_assert(kPciWindow.start >= kHoleStart && kPciWindow.end() <= kEcam.start);
static_assert(kEcam.end() <= kLocalApic && kLocalApic < kHoleEnd);
static_assert(kCmdline + kCmdlineBytes <= kLowMemoryEnd);

}  // namespace uvmm::layout
