// SPDX-License-Identifier: Apache-2.0
// "SDM" is the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3A.
#include "arch/x86_64/registers.h"

#include "arch/x86_64/layout.h"

namespace uvmm::arch {
namespace {

// SDM, 3.4.5: flat segments of 4 GiB, present, accessed.
constexpr u64 kCode64 = 0x00af'9b00'0000'ffff;
constexpr u64 kData = 0x00cf'9300'0000'ffff;
constexpr std::array<u64, 4> kGdt = {0, 0, kCode64, kData};
constexpr u16 kCodeSelector = 0x10, kDataSelector = 0x18;

// SDM, 4.5: page table entries.
constexpr u64 kPresent = 1 << 0, kWritable = 1 << 1, kAccessed = 1 << 5, kDirty = 1 << 6, kLargePage = 1 << 7;
constexpr u64 kTable = kPresent | kWritable | kAccessed;
constexpr u64 kPage = kTable | kDirty | kLargePage;
constexpr u64 kMappedGigabytes = 4;
constexpr u64 kEntriesPerTable = 512;

// SDM, 2.5.
constexpr u64 kCr0 = 1 << 0              // protected mode
                     | 1 << 1            // monitor coprocessor
                     | 1 << 4            // extension type: always 1
                     | 1 << 5            // numeric errors
                     | 1 << 16           // write protect
                     | u64{1} << 31;     // paging
constexpr u64 kCr4 = 1 << 5;             // physical address extension
constexpr u64 kEfer = 1 << 8 | 1 << 10;  // long mode enabled, and active

kvm_segment segment(u16 selector, u64 descriptor) {
  kvm_segment segment{};
  segment.base = 0;
  segment.limit = 0xffff'ffff;
  segment.selector = selector;
  segment.type = descriptor >> 40 & 0xf;
  segment.s = descriptor >> 44 & 1;
  segment.present = descriptor >> 47 & 1;
  segment.l = descriptor >> 53 & 1;
  segment.db = descriptor >> 54 & 1;
  segment.g = descriptor >> 55 & 1;
  return segment;
}

}  // namespace

bool write_boot_tables(const GuestMemory& memory, bool gigabyte_pages) {
  if (!memory.write(guest(layout::kBootGdt), kGdt)) return false;

  // One table of each upper level, and without 1 GiB pages a page directory for each GiB.
  const u64 pml4 = layout::kPageTables;
  const u64 pointers = pml4 + kPageSize;
  const u64 directories = pointers + kPageSize;
  if (!memory.write(guest(pml4), pointers | kTable)) return false;
  for (u64 gigabyte = 0; gigabyte < kMappedGigabytes; ++gigabyte) {
    const u64 directory = directories + gigabyte * kPageSize;
    const u64 entry = gigabyte_pages ? gigabyte * 1_GiB | kPage : directory | kTable;
    if (!memory.write(guest(pointers + gigabyte * sizeof entry), entry)) return false;
    if (gigabyte_pages) continue;
    std::array<u64, kEntriesPerTable> pages;
    for (u64 i = 0; i < pages.size(); ++i) pages[i] = (gigabyte * 1_GiB + i * 2_MiB) | kPage;
    if (!memory.write(guest(directory), pages)) return false;
  }
  return true;
}

void enter_long_mode(kvm_sregs& sregs) {
  sregs.cr0 = kCr0;
  sregs.cr3 = layout::kPageTables;
  sregs.cr4 = kCr4;
  sregs.efer = kEfer;
  sregs.gdt.base = layout::kBootGdt;
  sregs.gdt.limit = sizeof kGdt - 1;
  sregs.idt.base = 0;  // none: an exception before the kernel has its own is a triple fault
  sregs.idt.limit = 0;
  sregs.cs = segment(kCodeSelector, kCode64);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(kDataSelector, kData);
  // SDM, 26.3.1.2: VMX wants a busy 64-bit TSS, whether or not anything uses it.
  sregs.tr = {};
  sregs.tr.limit = 0xffff;
  sregs.tr.type = 11;
  sregs.tr.present = 1;
}

kvm_regs entry_registers(GuestAddress entry, GuestAddress boot_params) {
  kvm_regs regs{};
  regs.rip = address(entry);
  regs.rsi = address(boot_params);
  regs.rflags = 1 << 1;  // SDM, 3.4.3: always 1. Interrupts are off.
  return regs;
}

std::array<kvm_msr_entry, 2> boot_msrs() {
  constexpr u32 kMiscEnable = 0x1a0, kMtrrDefaultType = 0x2ff;
  constexpr u64 kFastStrings = 1 << 0, kNoBranchTrace = 1 << 11, kNoPebs = 1 << 12;
  constexpr u64 kWriteBack = 6, kMtrrsEnabled = 1 << 11;
  return {{
      // Without fast strings Linux copies memory the slow way on Intel processors.
      {.index = kMiscEnable, .data = kFastStrings | kNoBranchTrace | kNoPebs},
      // MTRRs that say "write-back everywhere", in place of "uncached everywhere" after reset.
      {.index = kMtrrDefaultType, .data = kMtrrsEnabled | kWriteBack},
  }};
}

}  // namespace uvmm::arch
