// SPDX-License-Identifier: Apache-2.0
// Vcpu: one virtual processor as KVM knows it, and the page that it shares with KVM. Any one thread at a
// time.
#pragma once

#include <csignal>
#include <optional>
#include <span>
#include <utility>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/kvm/uapi.h"

namespace uvmm::kvm {

class Vcpu {
 public:
  // Maps the kvm_run of vCPU `fd`.
  static Result<Vcpu> adopt(Fd fd, u32 mmap_bytes);
  Vcpu(Vcpu&& other) noexcept
      : fd_(std::move(other.fd_)), run_(std::exchange(other.run_, nullptr)), mmap_bytes_(other.mmap_bytes_) {}
  Vcpu& operator=(Vcpu&&) = delete;
  ~Vcpu();

  Result<void> set_cpuid2(std::span<const kvm_cpuid_entry2> entries) const;
  Result<void> set_msrs(std::span<const kvm_msr_entry> msrs) const;
  Result<kvm_regs> get_regs() const;
  Result<void> set_regs(const kvm_regs& regs) const;
  Result<kvm_sregs> get_sregs() const;
  Result<void> set_sregs(const kvm_sregs& sregs) const;

  // The signals that are blocked during KVM_RUN, in place of those that the thread blocks.
  Result<void> set_signal_mask(const sigset_t& blocked) const;

  // KVM_TRANSLATE: where the vCPU's page tables lead, if anywhere.
  std::optional<GuestAddress> translate(u64 linear_address) const;

  // KVM_KVMCLOCK_CTRL: tells the guest's watchdogs that it did not run for a while. Fails if the guest has no
  // kvmclock.
  Result<void> kvmclock_ctrl() const;

  // KVM_RUN: runs the guest until an exit, which state() then holds. 0 or an errno value.
  int run() const;

  kvm_run& state() const { return *run_; }

 private:
  Vcpu(Fd fd, kvm_run* run, u32 mmap_bytes) : fd_(std::move(fd)), run_(run), mmap_bytes_(mmap_bytes) {}

  Fd fd_;
  kvm_run* run_;
  u32 mmap_bytes_;
};

}  // namespace uvmm::kvm
