// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/vm.h"

#include "vmm/kvm/ioctl.h"

namespace uvmm::kvm {
namespace {

Result<void> set_ioeventfd(int vm, GuestAddress gpa, int event_fd, u32 flags) {
  kvm_ioeventfd request{};
  request.addr = address(gpa);
  request.len = 0;  // any length: KVM need not decode the instruction
  request.fd = event_fd;
  request.flags = flags;
  UVMM_CHECK(UVMM_KVM_CALL(vm, KVM_IOEVENTFD, &request));
  return {};
}

}  // namespace

int Vm::check_extension(int capability) const {
  return ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
}

Result<void> Vm::enable_cap(u32 capability, const char* name, u64 argument) const {
  kvm_enable_cap request{};
  request.cap = capability;
  request.args[0] = argument;
  UVMM_CHECK(call(fd_.get(), KVM_ENABLE_CAP, name, &request));
  return {};
}

Result<void> Vm::set_user_memory_region(u32 slot, GuestAddress start, std::span<u8> memory,
                                        Access access) const {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = access == Access::kReadOnly ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = address(start);
  region.memory_size = memory.size();
  region.userspace_addr = reinterpret_cast<u64>(memory.data());
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region));
  return {};
}

Result<void> Vm::set_tss_addr(GuestAddress three_pages) const {
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_TSS_ADDR, address(three_pages)));
  return {};
}

Result<void> Vm::set_identity_map_addr(GuestAddress page) const {
  const u64 gpa = address(page);
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &gpa));
  return {};
}

Result<Vcpu> Vm::create_vcpu(u32 id) const {
  const int fd = UVMM_TRY(UVMM_KVM_CALL(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(id)));
  return Vcpu::adopt(Fd(fd), vcpu_mmap_bytes_);
}

Result<void> Vm::ioeventfd(GuestAddress gpa, int event_fd) const {
  return set_ioeventfd(fd_.get(), gpa, event_fd, 0);
}

Result<void> Vm::deassign_ioeventfd(GuestAddress gpa, int event_fd) const {
  return set_ioeventfd(fd_.get(), gpa, event_fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

Result<void> Vm::irqfd(int event_fd, u32 gsi) const {
  kvm_irqfd request{};
  request.fd = u32(event_fd);
  request.gsi = gsi;
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_IRQFD, &request));
  return {};
}

Result<void> Vm::set_gsi_routing(const kvm_irq_routing& routing) const {
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_SET_GSI_ROUTING, &routing));
  return {};
}

}  // namespace uvmm::kvm
