// SPDX-License-Identifier: Apache-2.0
// Moves the local APIC over the PCI window and writes there, then storms vCPU 1 with INIT and SIPI.
#include "payload.h"

namespace payload {
namespace {

constexpr u32 kApicBase = 0x1b, kSpuriousVector = 0x80f, kInterruptCommand = 0x830;
constexpr u64 kInit = 0x4500, kSipi = 0x4600;  // level "assert"
constexpr u64 kTrampoline = 0x8000;            // as in smp.cpp
constexpr u64 kTarget = u64{1} << 32;

}  // namespace

void run() {
  const u64 base = read_msr(kApicBase);
  write_msr(kApicBase, (base & 0xfff) | layout::kPciWindow.start);
  for (u64 at = 0; at < 0x4000; at += 64) {
    mmio_write<u32>(layout::kPciWindow.start + at, 0);
    mmio_read<u32>(layout::kPciWindow.start + at);
  }
  write_msr(kApicBase, base);

  memcpy(reinterpret_cast<void*>(kTrampoline), "\xfa\xf4\xeb\xfd", 4);  // cli; hlt in a loop
  write_msr(kApicBase, base | 3 << 10);
  write_msr(kSpuriousVector, 0x1ff);
  for (u32 i = 0; i < 2000; ++i) {
    write_msr(kInterruptCommand, kTarget | kInit);
    write_msr(kInterruptCommand, kTarget | kSipi | kTrampoline >> 12);
  }
  print("apic: ok\n");
}

}  // namespace payload
