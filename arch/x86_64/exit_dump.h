// SPDX-License-Identifier: Apache-2.0
// Why a vCPU cannot go on, as text for a person. The vCPU's own thread.
#pragma once

#include <span>
#include <string>

#include "vmm/base/guest_memory.h"
#include "vmm/base/types.h"
#include "vmm/kvm/uapi.h"
#include "vmm/kvm/vcpu.h"

namespace uvmm::arch {

// One line: the exit reason in `run`, with what KVM says of it.
std::string describe_exit(const kvm_run& run);

// Registers, several lines; the first 16 bytes at most of `instruction`, which are those at %rip.
std::string dump_registers(const kvm_regs& regs, const kvm_sregs& sregs, std::span<const u8> instruction);

// The vCPU's registers and the instruction it was about to execute, where they can be had.
std::string dump_vcpu(const kvm::Vcpu& vcpu, const GuestMemory& memory);

}  // namespace uvmm::arch
