// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/msix.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace uvmm {
namespace {

const u64 kOne = 1;  // what a signal adds to the eventfd

}  // namespace

Msix::Msix(Io& io, MsiRouter& router, std::span<const InterruptLine> lines, std::span<u8> table)
    : io_(io), router_(router), table_(table), lines_(lines.size()) {
  assert(table.size() == lines.size() * kEntryBytes);
  for (u32 i = 0; i < lines.size(); ++i) {
    Line& line = lines_[i];
    line.kind = Op::Kind::kWrite;
    line.fd = lines[i].event_fd;
    line.address = &kOne;
    line.count = sizeof kOne;
    line.offset = Op::kNoOffset;
    line.on_complete = [](Op& op, i32, bool) {
      Line& self = static_cast<Line&>(op);
      self.writing = false;
      if (std::exchange(self.again, false)) self.msix->signal(self);
    };
    line.msix = this;
    line.gsi = lines[i].gsi;
    table_[i * kEntryBytes + PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
  }
}

Msix::~Msix() {
  assert(std::ranges::none_of(lines_, &Line::writing));
}

Msix::Entry Msix::entry(u16 vector) const {
  struct {
    le64 address;
    le32 data;
    le32 control;
  } raw;
  static_assert(sizeof raw == kEntryBytes);
  std::memcpy(&raw, table_.data() + vector * kEntryBytes, sizeof raw);
  return {{raw.address, raw.data}, (raw.control & PCI_MSIX_ENTRY_CTRL_MASKBIT) != 0};
}

bool Msix::deliverable(u16 vector) const {
  return enabled_ && !function_masked_ && !entry(vector).masked;
}

// Hands the vector's message to the router if it matters and is new there; whether it did.
bool Msix::route(u16 vector) {
  Line& line = lines_[vector];
  const MsiMessage message = entry(vector).message;
  if (!deliverable(vector) || (line.has_route && line.routed == message)) return false;
  line.routed = message;
  line.has_route = true;
  router_.route(line.gsi, message);
  return true;
}

void Msix::set_control(bool enabled, bool function_masked) {
  if (enabled == enabled_ && function_masked == function_masked_) return;
  enabled_ = enabled;
  function_masked_ = function_masked;
  bool changed = false;
  for (u16 vector = 0; vector < vectors(); ++vector) changed |= route(vector);
  // A message that the host refuses leaves the guest without that interrupt: its own loss.
  if (changed) router_.commit();
  for (u16 vector = 0; vector < vectors(); ++vector) deliver_pending(vector);
}

void Msix::write_table(u32 offset, std::span<const u8> bytes) {
  if ((bytes.size() != 4 && bytes.size() != 8) || offset % bytes.size()) return;
  if (offset >= table_.size()) return;  // the table's end is as aligned as the access
  for (u32 i = 0; i < bytes.size(); i += 4) {
    le32 value;
    std::memcpy(&value, bytes.data() + i, sizeof value);
    const bool is_control = (offset + i) % kEntryBytes == PCI_MSIX_ENTRY_VECTOR_CTRL;
    if (is_control) value &= PCI_MSIX_ENTRY_CTRL_MASKBIT;  // the rest is reserved
    std::memcpy(table_.data() + offset + i, &value, sizeof value);
  }
  const u16 vector = static_cast<u16>(offset / kEntryBytes);
  if (route(vector)) router_.commit();
  deliver_pending(vector);
}

void Msix::read_pba(u32 offset, std::span<u8> bytes) const {
  for (u32 i = 0; i < bytes.size(); ++i) {
    bytes[i] = 0;
    const u64 first = (u64{offset} + i) * 8;
    for (u64 vector = first; vector < std::min<u64>(first + 8, vectors()); ++vector)
      bytes[i] |= static_cast<u8>(lines_[vector].pending << (vector - first));
  }
}

void Msix::raise(u16 vector) {
  if (vector >= vectors() || !enabled_) return;
  if (deliverable(vector)) return signal(lines_[vector]);
  lines_[vector].pending = true;
}

void Msix::deliver_pending(u16 vector) {
  Line& line = lines_[vector];
  if (!line.pending || !deliverable(vector)) return;
  line.pending = false;
  signal(line);
}

// A write to the eventfd through the ring, so that it leaves in the same system call as new work does.
void Msix::signal(Line& line) {
  if (line.writing) {
    line.again = true;
    return;
  }
  line.writing = true;
  io_.submit(line);
}

}  // namespace uvmm
