// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/msi_routes.h"

#include <sys/eventfd.h>

#include <cassert>

#include "vmm/base/event_fd.h"

namespace uvmm::kvm {
namespace {

// Bits 11:5 of the address are reserved in the Intel manual (volume 3, 11.11.1). With
// KVM_FEATURE_MSI_EXT_DEST_ID they are bits 14:8 of the APIC id, which KVM wants in the upper half.
constexpr u32 kExtendedDestinationShift = 5;
constexpr u32 kExtendedDestinationMask = 0x7f;

constexpr std::size_t kTableHeaderWords = sizeof(kvm_irq_routing) / sizeof(u64);
constexpr std::size_t kTableEntryWords = sizeof(kvm_irq_routing_entry) / sizeof(u64);
static_assert(sizeof(kvm_irq_routing) % sizeof(u64) == 0 && sizeof(kvm_irq_routing_entry) % sizeof(u64) == 0);

}  // namespace

kvm_irq_routing_entry msi_routing_entry(u32 gsi, const MsiMessage& message, bool extended_destinations) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_MSI;
  entry.u.msi.address_lo = u32(message.address);
  entry.u.msi.address_hi = u32(message.address >> 32);
  entry.u.msi.data = message.data;
  if (extended_destinations) {
    const u32 extension = entry.u.msi.address_lo >> kExtendedDestinationShift & kExtendedDestinationMask;
    entry.u.msi.address_lo &= ~(kExtendedDestinationMask << kExtendedDestinationShift);
    entry.u.msi.address_hi |= extension << 8;
  }
  return entry;
}

Result<InterruptLine> MsiRoutes::add_line() {
  Fd event_fd = UVMM_TRY(create_eventfd(EFD_NONBLOCK));
  const InterruptLine line{u32(lines_.size()), event_fd.get()};
  UVMM_CHECK(vm_.irqfd(line.event_fd, line.gsi));
  lines_.push_back({.event_fd = std::move(event_fd)});
  table_.resize(kTableHeaderWords + lines_.size() * kTableEntryWords);
  return line;
}

void MsiRoutes::route(u32 gsi, const MsiMessage& message) {
  assert(gsi < lines_.size());
  Line& line = lines_[gsi];
  if (line.routed && line.message == message) return;
  line.message = message;
  line.routed = line.changed = changed_ = true;
}

bool MsiRoutes::commit() {
  if (!changed_) return true;
  changed_ = false;
  const bool accepted = write_table();
  for (Line& line : lines_) {
    if (line.changed && !accepted) line.routed = false;
    line.changed = false;
  }
  // The guest chose what was refused. Without the changed lines the table is one that KVM took before, or a
  // part of it, so that every other line goes on; theirs must not lead to where they led.
  if (!accepted) write_table();
  return accepted;
}

bool MsiRoutes::write_table() {
  auto* const routing = new (table_.data()) kvm_irq_routing{};
  auto* const entries = reinterpret_cast<kvm_irq_routing_entry*>(table_.data() + kTableHeaderWords);
  for (u32 gsi = 0; gsi < lines_.size(); ++gsi) {
    if (!lines_[gsi].routed) continue;
    new (&entries[routing->nr++])
        kvm_irq_routing_entry(msi_routing_entry(gsi, lines_[gsi].message, extended_destinations_));
  }
  return vm_.set_gsi_routing(*routing).has_value();
}

}  // namespace uvmm::kvm
