// SPDX-License-Identifier: Apache-2.0
// HostBridge: PCI bus 0 as the guest sees it through ECAM (PCI Express 4.0, 7.2.2), and its own function
// 00:00.0. I/O thread only; lives in the Machine.
#pragma once

#include <array>
#include <span>

#include "devices/pci/config_space.h"
#include "devices/pci/function.h"

namespace uvmm {

class HostBridge final : private PciFunction {
 public:
  static constexpr u32 kDevices = 32;
  static constexpr u64 kEcamBytes = 1_MiB;  // one bus

  // Where a device's page is in the ECAM: there the Machine maps its configuration page for reading.
  static constexpr u64 ecam_offset(u32 device) { return u64{device} << 15; }

  // `config_page` has ConfigSpace::kBytes, is zeroed and borrowed.
  explicit HostBridge(std::span<u8> config_page);

  // Device numbers count from 1; each has function 0 only.
  void attach(u32 device, PciFunction& function);

  // Accesses within the ECAM. Where no function is, reads give ones and writes are dropped; so they do if
  // they reach over a function's end.
  void read(u64 offset, std::span<u8> bytes);
  void write(u64 offset, std::span<const u8> bytes);

 private:
  PciFunction* function_at(u64 offset, u64 length) const;
  void read_config(u32 offset, std::span<u8> bytes) override { config_.read(offset, bytes); }
  void write_config(u32 offset, std::span<const u8> bytes) override { config_.write(offset, bytes); }

  ConfigSpace config_;
  std::array<PciFunction*, kDevices> functions_{};
};

}  // namespace uvmm
