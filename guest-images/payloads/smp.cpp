// SPDX-License-Identifier: Apache-2.0
// Starts every other vCPU with INIT and SIPI through the x2APIC. Each sets the byte of its own id and counts
// in; then as many must be there as CPUID says there are.
#include "payload.h"

namespace payload {
namespace {

// Real mode, at a page below 1 MiB that is nobody's: between boot_params and the page tables.
constexpr u64 kTrampoline = 0x8000;
static_assert(kTrampoline >= layout::kBootParams + kPageSize &&
              kTrampoline + kPageSize <= layout::kPageTables);
constexpr u64 kCount = kTrampoline + 0x100;  // u32
constexpr u64 kSeen = kTrampoline + 0x200;   // u8 for each id
constexpr u32 kMaxCpus = 1024;

extern "C" const u8 trampoline_begin[], trampoline_end[];
asm(R"(
        .pushsection .rodata
        .code16
trampoline_begin:
        xor     %ax, %ax
        mov     %ax, %ds
        mov     $0xb, %eax
        xor     %ecx, %ecx
        cpuid
        movb    $1, 0x8200(%edx)
        lock incl 0x8100
1:      cli
        hlt
        jmp     1b
trampoline_end:
        .code64
        .popsection
)");

constexpr u32 kApicBase = 0x1b, kX2apicId = 0x802, kSpuriousVector = 0x80f, kInterruptCommand = 0x830;
constexpr u64 kInit = 0x4500, kSipi = 0x4600;  // level "assert"

void start(u32 id) {
  write_msr(kInterruptCommand, u64{id} << 32 | kInit);
  write_msr(kInterruptCommand, u64{id} << 32 | kSipi | kTrampoline >> 12);
  write_msr(kInterruptCommand, u64{id} << 32 | kSipi | kTrampoline >> 12);
}

u32 counted() {
  return mmio_read<u32>(kCount);
}

}  // namespace

void run() {
  const u32 cpus = cpuid(0xb, 1).ebx;
  if (cpus == 0 || cpus > kMaxCpus) fail("CPUID counts ", cpus, " vCPUs");
  memcpy(reinterpret_cast<void*>(kTrampoline), trampoline_begin, trampoline_end - trampoline_begin);
  write_msr(kApicBase, read_msr(kApicBase) | 3 << 10);  // APIC on, x2APIC mode
  write_msr(kSpuriousVector, 0x1ff);
  const u32 own = u32(read_msr(kX2apicId));
  if (own != cpuid(0xb).edx || own != cpuid(1).ebx >> 24) fail("my APIC id is ", own);

  for (u32 id = 0; id < cpus; ++id) {
    if (id == own) continue;
    start(id);
    // One after the other, so that the id it was called by is known to be the one that its CPUID says.
    for (u32 i = 0; i < 2'000'000 && !mmio_read<u8>(kSeen + id); ++i) asm volatile("pause");
    if (!mmio_read<u8>(kSeen + id)) fail("vCPU ", id, " did not come, or has another id");
  }
  for (u32 i = 0; i < 2'000'000 && counted() + 1 < cpus; ++i) asm volatile("pause");
  u32 seen = 1;
  for (u32 id = 0; id < cpus; ++id) seen += mmio_read<u8>(kSeen + id) ? 1 : 0;
  if (counted() + 1 != cpus || seen != cpus) fail(counted() + 1, " of ", cpus, " vCPUs came, ", seen, " ids");
  print("smp: ok, ", cpus, " vCPUs\n");
}

}  // namespace payload
