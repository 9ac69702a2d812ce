// SPDX-License-Identifier: Apache-2.0
// How vCPU 0 finds its registers, and the tables in guest memory that they point to, when it enters the
// kernel. Pure functions.
//
// Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"): long mode, the
// first 4 GiB mapped to themselves, flat segments 0x10 and 0x18, interrupts off, %rsi at boot_params.
#pragma once

#include <array>

#include "vmm/base/guest_memory.h"
#include "vmm/base/types.h"
#include "vmm/kvm/uapi.h"

namespace uvmm::arch {

// Writes the GDT and the page tables to their places in the layout. False if they are not RAM.
[[nodiscard]] bool write_boot_tables(const GuestMemory& memory, bool gigabyte_pages);

// Long mode on those tables. What `sregs` says otherwise is kept.
void enter_long_mode(kvm_sregs& sregs);

kvm_regs entry_registers(GuestAddress entry, GuestAddress boot_params);

// Every vCPU's; what else firmware sets up KVM has right after reset.
std::array<kvm_msr_entry, 2> boot_msrs();

}  // namespace uvmm::arch
