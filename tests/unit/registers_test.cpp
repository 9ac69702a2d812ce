// SPDX-License-Identifier: Apache-2.0
#include "arch/x86_64/registers.h"

#include <optional>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/x86_64/layout.h"

namespace uvmm::arch {
namespace {

struct Ram {
  std::vector<u8> bytes = std::vector<u8>(128_KiB);
  GuestMemory memory{{{guest(0), bytes}}};
};

// The walk that a processor makes (SDM volume 3A, 4.5), for pages of 2 MiB and 1 GiB.
std::optional<u64> walk(const GuestMemory& memory, u64 cr3, u64 linear_address) {
  u64 table = cr3;
  for (int shift = 39; shift >= 21; shift -= 9) {
    const auto entry = memory.read<u64>(guest(table + (linear_address >> shift & 511) * 8));
    if (!entry || !(*entry & 1)) return std::nullopt;
    const u64 next = *entry & 0x000f'ffff'ffff'f000;
    if (*entry & 1 << 7) return next + (linear_address & ((u64{1} << shift) - 1));
    table = next;
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("registers: the first 4 GiB are mapped to themselves, and nothing else") {
  Ram ram;
  const bool gigabyte_pages = GENERATE(true, false);
  REQUIRE(write_boot_tables(ram.memory, gigabyte_pages));
  kvm_sregs sregs{};
  enter_long_mode(sregs);
  for (const u64 at : {u64{0}, u64{0x10'0000}, u64{0x7fff'ffff}, u64{0xc000'0001}, 4_GiB - 1}) {
    CAPTURE(at);
    CHECK(walk(ram.memory, sregs.cr3, at) == at);
  }
  CHECK_FALSE(walk(ram.memory, sregs.cr3, 4_GiB));
  CHECK_FALSE(walk(ram.memory, sregs.cr3, 512_GiB));
}

TEST_CASE("registers: with 1 GiB pages two pages of memory are touched") {
  Ram ram;
  REQUIRE(write_boot_tables(ram.memory, true));
  const auto begin = ram.bytes.begin() + layout::kPageTables;
  CHECK(std::all_of(begin + 2 * kPageSize, ram.bytes.end(), [](u8 byte) { return byte == 0; }));
}

TEST_CASE("registers: the tables end below the command line") {
  Ram ram;
  REQUIRE(write_boot_tables(ram.memory, false));
  CHECK(
      std::all_of(ram.bytes.begin() + layout::kCmdline, ram.bytes.end(), [](u8 byte) { return byte == 0; }));
}

TEST_CASE("registers: a guest without memory for the tables is refused") {
  std::vector<u8> bytes(layout::kPageTables + kPageSize);
  CHECK_FALSE(write_boot_tables(GuestMemory({{guest(0), bytes}}), true));
}

TEST_CASE("registers: the GDT has flat 64-bit code at 0x10 and data at 0x18, as the segments say") {
  Ram ram;
  REQUIRE(write_boot_tables(ram.memory, true));
  kvm_sregs sregs{};
  enter_long_mode(sregs);
  CHECK(sregs.gdt.limit == 31);
  CHECK(ram.memory.read<u64>(guest(sregs.gdt.base + 0x10)) == 0x00af9b000000ffff);
  CHECK(ram.memory.read<u64>(guest(sregs.gdt.base + 0x18)) == 0x00cf93000000ffff);
  CHECK(sregs.cs.selector == 0x10);
  CHECK(sregs.cs.l == 1);
  CHECK(sregs.cs.db == 0);
  CHECK(sregs.cs.type == 0xb);
  CHECK(sregs.ss.selector == 0x18);
  CHECK(sregs.ss.db == 1);
  CHECK(sregs.ss.dpl == 0);
}

TEST_CASE("registers: long mode is on, and what KVM had set otherwise stays") {
  kvm_sregs sregs{};
  sregs.apic_base = 0xfee00900;
  enter_long_mode(sregs);
  CHECK(sregs.cr0 == 0x80010033);
  CHECK(sregs.cr4 == 0x20);
  CHECK(sregs.efer == 0x500);
  CHECK(sregs.apic_base == 0xfee00900);
}

TEST_CASE("registers: the kernel is entered with boot_params in rsi and interrupts off") {
  const kvm_regs regs = entry_registers(guest(0x100'0200), guest(layout::kBootParams));
  CHECK(regs.rip == 0x100'0200);
  CHECK(regs.rsi == 0x7000);
  CHECK(regs.rflags == 2);
}

}  // namespace uvmm::arch
