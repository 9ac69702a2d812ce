// SPDX-License-Identifier: Apache-2.0
// ConfigSpace: one PCI function's configuration space (PCI 3.0, 6.1; type 0 header). I/O thread only.
//
// It lives in a page that the guest may read without an exit, so the bytes are at any time what a read would
// return: whatever a write changes, it changes there and then.
#pragma once

#include <array>
#include <span>

#include "vmm/base/types.h"

namespace uvmm {

class ConfigSpace {
 public:
  static constexpr u32 kBytes = 4096;  // with the extended space, where nothing is: all zeros

  struct Identity {
    u16 vendor = 0;
    u16 device = 0;
    u16 subsystem_vendor = 0;
    u16 subsystem = 0;
    u32 class_code = 0;  // class, subclass, programming interface
    u8 revision = 0;
  };

  // `page` has kBytes, is zeroed and borrowed.
  ConfigSpace(std::span<u8> page, const Identity& identity);

  // Adds a capability to the list. `bytes` starts with its id; the pointer to the next is filled in. Returns
  // where it is.
  u8 add_capability(std::span<const u8> bytes);
  // Of these bytes, bits that are set in `mask` take what the driver writes.
  void make_writable(u32 offset, std::span<const u8> mask);

  // BAR 0 is 32-bit memory of `bytes`, a power of two, at `address`, for good: writing all ones shows the
  // size until the next write; any other value does not take, and the address is back. Nothing moves, so
  // nothing can be moved over RAM, the APIC or another function.
  void set_bar(u32 address, u32 bytes);

  // Any length at any offset; what lies beyond the page reads as ones.
  void read(u32 offset, std::span<u8> bytes) const;
  // One, two or four bytes, aligned; anything else is dropped. Whether it was not.
  bool write(u32 offset, std::span<const u8> bytes);

  u16 command() const { return load<u16>(0x04); }

  template <typename T>
  T load(u32 offset) const {
    T value;
    __builtin_memcpy(&value, page_.data() + offset, sizeof value);
    return value;
  }
  template <typename T>
  void store(u32 offset, T value) {
    __builtin_memcpy(page_.data() + offset, &value, sizeof value);
  }

 private:
  static constexpr u32 kHeaderBytes = 256;

  void write_bar(std::span<const u8> bytes);

  std::span<u8> page_;
  std::array<u8, kHeaderBytes> writable_{};
  u8 last_capability_ = 0;
  u32 next_free_ = 0x40;  // the header ends there
  u32 bar_address_ = 0;
  u32 bar_bytes_ = 0;
};

}  // namespace uvmm
