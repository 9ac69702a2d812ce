// SPDX-License-Identifier: Apache-2.0
// The one way ioctls are made in vmm/kvm: by name, with the name in the error. Any thread.
#pragma once

#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>

#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/kvm/uapi.h"

namespace uvmm::kvm {

// The ioctl's result, or the refusal. A call that a signal interrupted is made again.
template <typename Argument>
Result<int> call(int fd, unsigned long request, const char* name, Argument argument) {
  int result;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return fail(ErrorKind::kHost, "KVM refuses {}: {}", name, error_text(errno));
  return result;
}

// struct kvm_cpuid2 with room for all that KVM takes (KVM_MAX_CPUID_ENTRIES).
struct CpuidTable {
  u32 nent;
  u32 padding;
  kvm_cpuid_entry2 entries[256];
};
static_assert(offsetof(CpuidTable, entries) == offsetof(kvm_cpuid2, entries));

}  // namespace uvmm::kvm

#define UVMM_KVM_CALL(fd, request, argument) ::uvmm::kvm::call(fd, request, #request, argument)
