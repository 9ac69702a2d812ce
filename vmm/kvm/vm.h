// SPDX-License-Identifier: Apache-2.0
// Vm: one virtual machine as KVM knows it. Setting up belongs to one thread; ioeventfds and irqfds may come
// and go on any. The VM lives in the kernel until this and all its Vcpus are gone.
//
// The order of the calls decides the start-up time, since each one waits for a grace period once something is
// registered on an I/O bus: every memory slot first, then the interrupt controller, the vCPUs, and only then
// the ioeventfds and irqfds.
#pragma once

#include <span>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"
#include "vmm/kvm/uapi.h"
#include "vmm/kvm/vcpu.h"

namespace uvmm::kvm {

class Vm {
 public:
  Vm(Fd fd, u32 vcpu_mmap_bytes) : fd_(std::move(fd)), vcpu_mmap_bytes_(vcpu_mmap_bytes) {}

  int check_extension(int capability) const;
  // KVM_ENABLE_CAP. `name` is for the message if it fails.
  Result<void> enable_cap(u32 capability, const char* name, u64 argument) const;

  // KVM_SET_USER_MEMORY_REGION: the guest sees `memory` at `start`. Of read-only memory it sees reads, and
  // its writes exit as MMIO. The memory is borrowed and must outlive the VM.
  enum class Access : u8 { kReadWrite, kReadOnly };
  Result<void> set_user_memory_region(u32 slot, GuestAddress start, std::span<u8> memory,
                                      Access access) const;

  // Room that KVM keeps for itself on Intel processors without unrestricted guest mode, for vCPUs in real
  // mode: three pages and one page that are not RAM and below 4 GiB.
  Result<void> set_tss_addr(GuestAddress three_pages) const;
  Result<void> set_identity_map_addr(GuestAddress page) const;

  // KVM_CREATE_VCPU. `id` is the APIC id.
  Result<Vcpu> create_vcpu(u32 id) const;

  // KVM_IOEVENTFD: a write of any length to exactly `gpa` signals `event_fd` and is otherwise dropped,
  // without an exit to user space.
  Result<void> ioeventfd(GuestAddress gpa, int event_fd) const;
  Result<void> deassign_ioeventfd(GuestAddress gpa, int event_fd) const;

  // KVM_IRQFD: a signal of `event_fd` raises interrupt `gsi`, wherever KVM_SET_GSI_ROUTING sends it.
  Result<void> irqfd(int event_fd, u32 gsi) const;

  // KVM_SET_GSI_ROUTING: replaces the whole table. `routing` is followed by its `nr` entries.
  Result<void> set_gsi_routing(const kvm_irq_routing& routing) const;

 private:
  Fd fd_;
  u32 vcpu_mmap_bytes_;
};

}  // namespace uvmm::kvm
