// SPDX-License-Identifier: Apache-2.0
// Whether KVM on this machine can run a guest's kernel, found out by running a few instructions of one.
#pragma once

#include <cstdint>
#include <string>

namespace uvmm {

struct KvmProbe {
  enum class Verdict : std::uint8_t {
    kRunsKernels,
    kOnlyEmulates,  // no SVM or VMX: kernel code is emulated, slowly and not completely
    kUnavailable,
  };
  Verdict verdict = Verdict::kUnavailable;
  std::string reason;  // one line: what was found; always there
  std::string hint;    // what can be done about it; may be empty
};

// Takes milliseconds, a tenth of a second at the worst. Any thread.
KvmProbe probe_kvm();

}  // namespace uvmm
