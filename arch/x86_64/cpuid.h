// SPDX-License-Identifier: Apache-2.0
// What CPUID tells the guest: what KVM supports, cut down to what this machine has, with its topology (one
// package of single-threaded cores, whose APIC ids count from 0). Pure functions.
#pragma once

#include <span>
#include <vector>

#include "vmm/base/types.h"
#include "vmm/kvm/uapi.h"

namespace uvmm::arch {

struct CpuidOptions {
  u32 cpus = 1;
  bool tsc_deadline_timer = true;      // KVM_CAP_TSC_DEADLINE_TIMER
  bool extended_destinations = false;  // interrupts reach APIC ids above 255: KVM_FEATURE_MSI_EXT_DEST_ID
};

// The table for vCPU 0, from KVM_GET_SUPPORTED_CPUID's.
std::vector<kvm_cpuid_entry2> guest_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                          const CpuidOptions& options);

// Makes the table that of the vCPU with this APIC id.
void set_apic_id(std::span<kvm_cpuid_entry2> cpuid, u32 apic_id);

// Whether page tables may have 1 GiB pages.
bool has_gigabyte_pages(std::span<const kvm_cpuid_entry2> cpuid);

// How many bits a guest-physical address has.
u32 physical_address_bits(std::span<const kvm_cpuid_entry2> cpuid);

}  // namespace uvmm::arch
