// SPDX-License-Identifier: Apache-2.0
#include "cpu.h"

namespace payload {
namespace {

// Real mode, at a page below 1 MiB that is nobody's: between boot_params and the page tables.
constexpr u64 kTrampoline = 0x8000;
static_assert(kTrampoline >= layout::kBootParams + kPageSize &&
              kTrampoline + kPageSize <= layout::kPageTables);
// The trampoline has these as digits.
static_assert(layout::kPageTables == 0x9000 && layout::kBootGdt == 0x500);

constexpr u32 kApicBase = 0x1b, kSpuriousVector = 0x80f, kInterruptCommand = 0x830;
constexpr u64 kInit = 0x4500, kSipi = 0x4600;  // level "assert"

constexpr std::size_t kStackBytes = 16_KiB;

void (*volatile cpu_function)() = nullptr;
volatile bool cpu_started = false;

}  // namespace

extern "C" {
extern const u8 cpu_trampoline_begin[], cpu_trampoline_end[];
u64 cpu_stack = 0;

void cpu_main() {
  void (*const function)() = cpu_function;
  leave_kernel_mode();
  cpu_started = true;
  function();
}
}

// Into long mode with the first vCPU's GDT and page tables, as arch/x86_64/registers.cpp has them.
asm(R"(
        .pushsection .text
        .code16
cpu_trampoline_begin:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   0x8000 + cpu_gdt_register - cpu_trampoline_begin
        mov     $0x20, %eax             # CR4: physical address extension
        mov     %eax, %cr4
        mov     $0x9000, %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx       # EFER: long mode
        mov     $0x100, %eax
        xor     %edx, %edx
        wrmsr
        mov     $0x80010033, %eax       # CR0: paging, write protect, protected mode and what goes with it
        mov     %eax, %cr0
        ljmpl   $0x10, $cpu_entry
        .balign 8
cpu_gdt_register:
        .word   31
        .long   0x500
cpu_trampoline_end:
        .code64
cpu_entry:
        mov     $0x18, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     cpu_stack, %rsp
        xor     %ebp, %ebp
        call    cpu_main
1:      pause
        jmp     1b
        .popsection
)");

void start_cpu(u32 id, void (*function)()) {
  memcpy(reinterpret_cast<void*>(kTrampoline), cpu_trampoline_begin,
         static_cast<std::size_t>(cpu_trampoline_end - cpu_trampoline_begin));
  cpu_stack = reinterpret_cast<u64>(allocate(kStackBytes, 16)) + kStackBytes;
  cpu_function = function;
  cpu_started = false;
  write_msr(kApicBase, read_msr(kApicBase) | 3 << 10);  // APIC on, x2APIC mode
  write_msr(kSpuriousVector, 0x1ff);
  write_msr(kInterruptCommand, u64{id} << 32 | kInit);
  for (u32 i = 0; i < 2; ++i) write_msr(kInterruptCommand, u64{id} << 32 | kSipi | kTrampoline >> 12);
  for (u32 i = 0; i < 2'000'000 && !cpu_started; ++i) asm volatile("pause");
  if (!cpu_started) fail("vCPU ", id, " did not come");
}

}  // namespace payload
