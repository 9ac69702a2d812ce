// SPDX-License-Identifier: Apache-2.0
// Msix: one function's MSI-X vectors (PCI 3.0, 6.8.2). I/O thread only; lives in the transport.
//
// The table's bytes lie in a page that the guest may read without an exit; only this class writes them. A
// vector's message goes to the router when it could be delivered and differs from what went there last, so
// that a driver that sets up masked vectors costs one call for each that it really uses. A vector that nobody
// claims has no interrupt line either.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/base/msi_router.h"

namespace uvmm {

class Msix {
 public:
  struct Parts {
    Io& io;
    MsiRouter& router;
    Log& log;
    const std::string& name;  // of the device, for messages
    std::span<u8> table;      // kEntryBytes for each vector, zeroed; borrowed
  };
  explicit Msix(const Parts& parts);
  Msix(const Msix&) = delete;
  Msix& operator=(const Msix&) = delete;
  ~Msix();  // no write to an eventfd is in flight

  static constexpr u32 kEntryBytes = 16;

  u16 vectors() const { return static_cast<u16>(lines_.size()); }
  bool enabled() const { return enabled_; }

  // Message control has been written: PCI_MSIX_FLAGS_ENABLE and _MASKALL.
  void set_control(bool enabled, bool function_masked);
  // Four or eight bytes, aligned (6.8.2); anything else is dropped, as is what lies beyond the table.
  void write_table(u32 offset, std::span<const u8> bytes);
  // The pending bits; zeros beyond.
  void read_pba(u32 offset, std::span<u8> bytes) const;

  // Has the vector raised from now on. False if it is not there or the host has no line for it.
  bool claim(u16 vector);

  // Sends the vector's message, now or when it is unmasked. Claimed, or VIRTIO_MSI_NO_VECTOR for nothing.
  void raise(u16 vector);

 private:
  // What is there for a vector; its `fd` is that of its line, once it has been claimed.
  struct Line : Op {
    Msix* msix = nullptr;
    u32 gsi = 0;
    MsiMessage routed;
    bool has_route = false;
    bool changed = false;  // its route, by the last update_routes()
    bool pending = false;  // raised while it was masked
    bool writing = false;  // the eventfd's write is in flight
    bool again = false;    // raised meanwhile
    u32 failures = 0;      // of the write, one after the other
  };
  struct Entry {
    MsiMessage message;
    bool masked;
  };

  Entry entry(u16 vector) const;
  bool deliverable(u16 vector) const;
  u16 vector_of(const Line& line) const { return static_cast<u16>(&line - lines_.data()); }
  void update_routes(std::span<Line> lines);
  bool route(Line& line);
  void complain(const Line& line);
  void deliver_pending(u16 vector);
  void signal(Line& line);

  Io& io_;
  MsiRouter& router_;
  Log& log_;
  std::string name_;
  std::span<u8> table_;
  std::vector<Line> lines_;
  bool enabled_ = false;
  bool function_masked_ = false;
  bool refusal_logged_ = false;
};

}  // namespace uvmm
