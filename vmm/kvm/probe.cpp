// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include <uvmm/probe.hpp>

#include "vmm/kvm/system.h"

namespace uvmm {
namespace {

// In real mode, which is CPL 0. An emulator that knows these instructions still needs a microsecond or so for
// each turn of the loop; a processor needs far less than one.
constexpr u16 kCodeAddress = 0x1000;
constexpr u8 kCode[] = {
    0xf3, 0x0f, 0xb8, 0xc1,              // popcnt %cx, %ax
    0x9b,                                // fwait
    0xcc,                                // int3
    0x66, 0xb9, 0x50, 0xc3, 0x00, 0x00,  // mov $50000, %ecx
    0x67, 0xe2, 0xfd,                    // loop on itself (ecx)
    0xf4,                                // hlt
};
constexpr u8 kBreakpointHandler[] = {0xcf};  // iret
constexpr u16 kHandlerAddress = 0x1100;
constexpr u16 kStackTop = 0x2000;
constexpr u64 kBreakpointVector = 3 * 4;  // of the real-mode interrupt table at 0: offset, segment
constexpr u64 kMemoryBytes = 64_KiB;

constexpr int kRounds = 3;  // the quickest counts, so that a busy machine is not taken for an emulator
constexpr auto kEmulatorsTime = std::chrono::milliseconds(20);

struct Unmap {
  void operator()(u8* memory) const { ::munmap(memory, kMemoryBytes); }
};

struct Run {
  bool finished = false;
  std::chrono::steady_clock::duration took{};
};

Result<Run> run_guest(const kvm::Vcpu& vcpu) {
  kvm_sregs sregs = UVMM_TRY(vcpu.get_sregs());
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  UVMM_CHECK(vcpu.set_sregs(sregs));
  kvm_regs regs{};
  regs.rip = kCodeAddress;
  regs.rsp = kStackTop;
  regs.rflags = 2;
  UVMM_CHECK(vcpu.set_regs(regs));

  const auto start = std::chrono::steady_clock::now();
  int error;
  do {
    error = vcpu.run();
  } while (error == EINTR || error == EAGAIN);
  return Run{error == 0 && vcpu.state().exit_reason == KVM_EXIT_HLT,
             std::chrono::steady_clock::now() - start};
}

Result<KvmProbe> probe() {
  void* const mapped =
      ::mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return fail(ErrorKind::kHost, "cannot map memory: {}", error_text(errno));
  const std::unique_ptr<u8[], Unmap> memory(static_cast<u8*>(mapped));
  std::ranges::copy(kCode, &memory[kCodeAddress]);
  std::ranges::copy(kBreakpointHandler, &memory[kHandlerAddress]);
  std::memcpy(&memory[kBreakpointVector], &kHandlerAddress, sizeof kHandlerAddress);

  const kvm::System system = UVMM_TRY(kvm::System::open());
  const kvm::Vm vm = UVMM_TRY(system.create_vm());
  UVMM_CHECK(
      vm.set_user_memory_region(0, guest(0), {memory.get(), kMemoryBytes}, kvm::Vm::Access::kReadWrite));
  const kvm::Vcpu vcpu = UVMM_TRY(vm.create_vcpu(0));

  const KvmProbe emulates{KvmProbe::Verdict::kOnlyEmulates, "KVM here only emulates kernel code",
                          "use a machine, or a virtual machine with nesting, that has AMD SVM or Intel VMX"};
  for (int round = 0; round < kRounds; ++round) {
    const Run run = UVMM_TRY(run_guest(vcpu));
    if (!run.finished) break;
    if (run.took < kEmulatorsTime) {
      return KvmProbe{KvmProbe::Verdict::kRunsKernels, "KVM here runs kernel code", {}};
    }
  }
  return emulates;
}

}  // namespace

KvmProbe probe_kvm() {
  auto found = probe();
  if (found) return std::move(*found);
  return {KvmProbe::Verdict::kUnavailable, std::move(found.error().message), std::move(found.error().hint)};
}

}  // namespace uvmm
