// SPDX-License-Identifier: Apache-2.0
#include "arch/x86_64/platform.h"

#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/registers.h"

namespace uvmm::arch {
namespace {

// KVM's own four pages on old Intel processors: at the end of the hole, where no window and no APIC is.
constexpr GuestAddress kIdentityMap = guest(0xFFFB'C000);
constexpr GuestAddress kTss = guest(0xFFFB'D000);

// There is no I/O APIC: every interrupt is a message.
constexpr u64 kIoapicPins = 0;

}  // namespace

Result<void> create_interrupt_controller(const kvm::Vm& vm, u32 cpus) {
  UVMM_CHECK(vm.set_identity_map_addr(kIdentityMap));
  UVMM_CHECK(vm.set_tss_addr(kTss));
  // No performance counters: CPUID hides them, and AMD's oldest ones have no bit there. Since Linux 5.18.
  if (vm.check_extension(KVM_CAP_PMU_CAPABILITY) & KVM_PMU_CAP_DISABLE) {
    UVMM_CHECK(vm.enable_cap(KVM_CAP_PMU_CAPABILITY, "KVM_CAP_PMU_CAPABILITY", KVM_PMU_CAP_DISABLE));
  }
  UVMM_CHECK(vm.enable_cap(KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", kIoapicPins));
  if (needs_extended_destinations(cpus)) {
    UVMM_CHECK(vm.enable_cap(KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API",
                             KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK));
  }
  return {};
}

Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const kvm::System& system, u32 cpus) {
  const std::vector<kvm_cpuid_entry2> supported = UVMM_TRY(system.get_supported_cpuid());
  return guest_cpuid(supported, {.cpus = cpus,
                                 .tsc_deadline_timer = system.check_extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0,
                                 .extended_destinations = needs_extended_destinations(cpus)});
}

Result<void> set_up_vcpu(const kvm::Vcpu& vcpu, std::span<const kvm_cpuid_entry2> cpuid) {
  UVMM_CHECK(vcpu.set_cpuid2(cpuid));
  return vcpu.set_msrs(boot_msrs());
}

Result<void> set_up_entry(const kvm::Vcpu& vcpu, const GuestMemory& memory, GuestAddress entry,
                          std::span<const kvm_cpuid_entry2> cpuid) {
  if (!write_boot_tables(memory, has_gigabyte_pages(cpuid))) {
    return fail(ErrorKind::kBadData, "the guest has too little memory");
  }
  kvm_sregs sregs = UVMM_TRY(vcpu.get_sregs());
  enter_long_mode(sregs);
  UVMM_CHECK(vcpu.set_sregs(sregs));
  return vcpu.set_regs(entry_registers(entry, guest(layout::kBootParams)));
}

}  // namespace uvmm::arch
