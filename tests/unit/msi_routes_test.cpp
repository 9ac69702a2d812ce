// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/msi_routes.h"

#include <catch2/catch.hpp>

namespace uvmm::kvm {

TEST_CASE("msi routes: a message goes to KVM as it is") {
  const auto entry = msi_routing_entry(7, {.address = 0x1'fee0'1fe0, .data = 0x4041}, false);
  CHECK(entry.gsi == 7);
  CHECK(entry.type == KVM_IRQ_ROUTING_MSI);
  CHECK(entry.u.msi.address_lo == 0xfee0'1fe0);
  CHECK(entry.u.msi.address_hi == 1);
  CHECK(entry.u.msi.data == 0x4041);
}

TEST_CASE("msi routes: an extended destination moves to where KVM looks for it") {
  // APIC id 0x123: the low byte in bits 19:12, the next seven bits in 11:5.
  const auto entry = msi_routing_entry(0, {.address = 0xfee2'3020, .data = 0x41}, true);
  CHECK(entry.u.msi.address_lo == 0xfee2'3000);
  CHECK(entry.u.msi.address_hi == 0x100);
}

}  // namespace uvmm::kvm
