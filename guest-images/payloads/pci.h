// SPDX-License-Identifier: Apache-2.0
// PCI bus 0, through ECAM (PCI Express 4.0, 7.2.2).
#pragma once

#include "payload.h"

namespace payload {

// Function 0 of a device: no other is ever there.
struct PciDevice {
  u32 number = 0;

  template <typename T>
  T read(u32 offset) const {
    return mmio_read<T>(address_of(offset));
  }
  template <typename T>
  void write(u32 offset, T value) const {
    mmio_write<T>(address_of(offset), value);
  }
  u64 address_of(u32 offset) const { return layout::kEcam.start + (u64{number} << 15) + offset; }

  bool present() const { return read<u32>(0) != 0xffff'ffff; }
};

inline constexpr u32 kPciDevices = 32;

}  // namespace payload
