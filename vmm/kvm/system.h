// SPDX-License-Identifier: Apache-2.0
// System: an open /dev/kvm that can do all that a VM needs. Any thread; may close once its VMs exist.
#pragma once

#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/kvm/uapi.h"
#include "vmm/kvm/vm.h"

namespace uvmm::kvm {

class System {
 public:
  static Result<System> open(const char* path = "/dev/kvm");

  // KVM_CREATE_VM.
  Result<Vm> create_vm() const;

  // KVM_GET_SUPPORTED_CPUID: what this host and its KVM can give to a guest.
  Result<std::vector<kvm_cpuid_entry2>> get_supported_cpuid() const;

  // KVM_CHECK_EXTENSION: 0 if it is not there.
  int check_extension(int capability) const;

 private:
  System(Fd fd, u32 vcpu_mmap_bytes) : fd_(std::move(fd)), vcpu_mmap_bytes_(vcpu_mmap_bytes) {}

  Fd fd_;
  u32 vcpu_mmap_bytes_ = 0;
};

// What it means that opening /dev/kvm failed with errno value `error`, and what can be done about it.
Error explain_open_failure(const char* path, int error);

}  // namespace uvmm::kvm
