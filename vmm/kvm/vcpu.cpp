// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/vcpu.h"

#include <sys/mman.h>

#include <algorithm>
#include <memory>

#include "vmm/kvm/ioctl.h"

namespace uvmm::kvm {

Result<Vcpu> Vcpu::adopt(Fd fd, u32 mmap_bytes) {
  void* const run = ::mmap(nullptr, mmap_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) {
    return fail(ErrorKind::kHost, "cannot map a vCPU's kvm_run: {}", error_text(errno));
  }
  return Vcpu(std::move(fd), static_cast<kvm_run*>(run), mmap_bytes);
}

Vcpu::~Vcpu() {
  if (run_) ::munmap(run_, mmap_bytes_);
}

Result<void> Vcpu::set_cpuid2(std::span<const kvm_cpuid_entry2> entries) const {
  const auto table = std::make_unique_for_overwrite<CpuidTable>();
  if (entries.size() > std::size(table->entries)) {
    return fail(ErrorKind::kHost, "{} CPUID entries are more than KVM takes", entries.size());
  }
  table->nent = u32(entries.size());
  table->padding = 0;
  std::ranges::copy(entries, table->entries);
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_CPUID2, table.get()));
  return {};
}

Result<void> Vcpu::set_msrs(std::span<const kvm_msr_entry> msrs) const {
  struct Table {
    u32 nmsrs = 0, padding = 0;
    kvm_msr_entry entries[8] = {};
  } table;
  static_assert(offsetof(Table, entries) == offsetof(kvm_msrs, entries));

  for (; !msrs.empty(); msrs = msrs.subspan(table.nmsrs)) {
    table.nmsrs = u32(std::min(msrs.size(), std::size(table.entries)));
    std::ranges::copy(msrs.first(table.nmsrs), table.entries);
    // The result is how many were set, up to the first that KVM does not have.
    const int done = UVMM_TRY(UVMM_KVM_CALL(fd_.get(), KVM_SET_MSRS, &table));
    if (u32(done) < table.nmsrs) {
      return fail(ErrorKind::kHost, "KVM refuses to set MSR {:#x} to {:#x}", msrs[done].index,
                  msrs[done].data);
    }
  }
  return {};
}

Result<kvm_regs> Vcpu::get_regs() const {
  kvm_regs regs;
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_GET_REGS, &regs));
  return regs;
}

Result<void> Vcpu::set_regs(const kvm_regs& regs) const {
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_REGS, &regs));
  return {};
}

Result<kvm_sregs> Vcpu::get_sregs() const {
  kvm_sregs sregs;
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_GET_SREGS, &sregs));
  return sregs;
}

Result<void> Vcpu::set_sregs(const kvm_sregs& sregs) const {
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_SREGS, &sregs));
  return {};
}

Result<void> Vcpu::set_signal_mask(const sigset_t& blocked) const {
  // The kernel's sigset is the first 8 bytes of the C library's.
  struct Mask {
    u32 len = sizeof(u64);
    u8 sigset[sizeof(u64)];
  } mask;
  static_assert(offsetof(Mask, sigset) == offsetof(kvm_signal_mask, sigset));
  std::memcpy(mask.sigset, &blocked, sizeof(mask.sigset));
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_SIGNAL_MASK, &mask));
  return {};
}

std::optional<GuestAddress> Vcpu::translate(u64 linear_address) const {
  kvm_translation translation{};
  translation.linear_address = linear_address;
  if (!UVMM_KVM_CALL(fd_.get(), KVM_TRANSLATE, &translation) || !translation.valid) return std::nullopt;
  return guest(translation.physical_address);
}

Result<void> Vcpu::kvmclock_ctrl() const {
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_KVMCLOCK_CTRL, nullptr));
  return {};
}

int Vcpu::run() const {
  return ::ioctl(fd_.get(), KVM_RUN, 0) == 0 ? 0 : errno;
}

}  // namespace uvmm::kvm
