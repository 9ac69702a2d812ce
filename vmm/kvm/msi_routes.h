// SPDX-License-Identifier: Apache-2.0
// MsiRoutes: a VM's interrupt lines and the messages that they stand for. I/O thread only. Lives in the
// Machine, as long as the Vm.
#pragma once

#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/msi_router.h"
#include "vmm/base/result.h"
#include "vmm/kvm/uapi.h"
#include "vmm/kvm/vm.h"

namespace uvmm::kvm {

class MsiRoutes final : public MsiRouter {
 public:
  // With `extended_destinations` the address has seven more bits of the destination's APIC id, which the
  // guest uses once it was told of KVM_FEATURE_MSI_EXT_DEST_ID, and KVM once it has KVM_CAP_X2APIC_API.
  MsiRoutes(const Vm& vm, bool extended_destinations)
      : vm_(vm), extended_destinations_(extended_destinations) {}

  // An eventfd, registered as an irqfd.
  Result<InterruptLine> add_line() override;
  void route(u32 gsi, const MsiMessage& message) override;
  bool commit() override;

 private:
  struct Line {
    Fd event_fd;
    MsiMessage message;
    bool routed = false;
    bool changed = false;  // since the last commit()
  };

  bool write_table();

  const Vm& vm_;
  const bool extended_destinations_;
  bool changed_ = false;
  std::vector<Line> lines_;  // a line's gsi is its index
  std::vector<u64> table_;   // struct kvm_irq_routing and its entries, sized for all lines
};

// The message as KVM_SET_GSI_ROUTING takes it.
kvm_irq_routing_entry msi_routing_entry(u32 gsi, const MsiMessage& message, bool extended_destinations);

}  // namespace uvmm::kvm
