// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/msix.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace uvmm {
namespace {

const u64 kOne = 1;                 // what a signal adds to the eventfd
constexpr u32 kMostFailures = 100;  // of its write, one after the other

}  // namespace

Msix::Msix(const Parts& parts)
    : io_(parts.io),
      router_(parts.router),
      log_(parts.log),
      name_(parts.name),
      table_(parts.table),
      lines_(table_.size() / kEntryBytes) {
  for (u32 i = 0; i < lines_.size(); ++i) {
    Line& line = lines_[i];
    line.kind = Op::Kind::kWrite;
    line.quiet = true;
    line.address = &kOne;
    line.count = sizeof kOne;
    line.offset = Op::kNoOffset;
    line.on_complete = [](Op& op, i32 result, bool) {
      Line& self = static_cast<Line&>(op);
      self.writing = false;
      // Without an interrupt that the host had no memory for the guest may wait for ever.
      const bool lost = result < 0 && result != -ECANCELED;
      self.failures = lost ? self.failures + 1 : 0;
      const bool again = std::exchange(self.again, false) || (lost && self.failures < kMostFailures);
      // Not signal(): it may have been masked meanwhile.
      if (again) self.msix->raise(self.msix->vector_of(self));
    };
    line.msix = this;
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

// A message that the host refuses leaves the guest without that interrupt, its own loss, until it is unmasked
// or written once more. It costs no other vector: what is refused together is tried one by one.
void Msix::update_routes(std::span<Line> lines) {
  u32 changed = 0;
  for (Line& line : lines) changed += route(line);
  if (changed == 0 || router_.commit()) return;
  for (Line& line : lines) {
    if (!line.changed) continue;
    if (changed > 1) router_.route(line.gsi, line.routed);
    line.has_route = changed > 1 && router_.commit();
    if (!line.has_route) complain(line);
  }
}

// Hands the line's message to the router if it matters and is new there; whether it did.
bool Msix::route(Line& line) {
  const u16 vector = vector_of(line);
  const MsiMessage message = entry(vector).message;
  line.changed = line.fd >= 0 && deliverable(vector) && !(line.has_route && line.routed == message);
  if (!line.changed) return false;
  line.routed = message;
  line.has_route = true;
  router_.route(line.gsi, message);
  return true;
}

void Msix::complain(const Line& line) {
  if (std::exchange(refusal_logged_, true)) return;
  log_.guest("{}: the host refuses the message of interrupt {}, {:#x} to address {:#x}; no other is reported",
             name_, vector_of(line), line.routed.data, line.routed.address);
}

void Msix::set_control(bool enabled, bool function_masked) {
  if (enabled == enabled_ && function_masked == function_masked_) return;
  enabled_ = enabled;
  function_masked_ = function_masked;
  update_routes(lines_);
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
  update_routes(std::span(lines_).subspan(vector, 1));
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

bool Msix::claim(u16 vector) {
  if (vector >= vectors()) return false;
  Line& line = lines_[vector];
  if (line.fd >= 0) return true;
  const Result<InterruptLine> added = router_.add_line();
  if (!added) {
    log_.guest("{}: interrupt {} cannot be had: {}", name_, vector, added.error().message);
    return false;
  }
  line.fd = added->event_fd;
  line.gsi = added->gsi;
  update_routes({&line, 1});
  return true;
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
