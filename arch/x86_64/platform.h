// SPDX-License-Identifier: Apache-2.0
// What makes a bare KVM VM this machine: interrupt controller and processors, in the state in which they
// enter the kernel. The thread that sets the VM up.
#pragma once

#include <span>
#include <vector>

#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/uapi.h"

namespace uvmm::arch {

// APIC ids above this need KVM_CAP_X2APIC_API, and MSIs with extended destinations.
inline constexpr u32 kLargestXapicId = 254;

constexpr bool needs_extended_destinations(u32 cpus) {
  return cpus - 1 > kLargestXapicId;
}

// To be called after the memory slots are there and before the first vCPU is.
Result<void> create_interrupt_controller(const kvm::Vm& vm, u32 cpus);

// The CPUID table of vCPU 0; arch::set_apic_id() makes it that of another.
Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const kvm::System& system, u32 cpus);

// Gives the vCPU its CPUID and MSRs. This is all that one other than the first needs: it waits for the
// guest's INIT and SIPI.
Result<void> set_up_vcpu(const kvm::Vcpu& vcpu, std::span<const kvm_cpuid_entry2> cpuid);

// Lets vCPU 0 start at `entry`, with boot_params where the layout has it. Writes the tables that it enters
// with.
Result<void> set_up_entry(const kvm::Vcpu& vcpu, const GuestMemory& memory, GuestAddress entry,
                          std::span<const kvm_cpuid_entry2> cpuid);

}  // namespace uvmm::arch
