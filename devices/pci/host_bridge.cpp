// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/host_bridge.h"

#include <algorithm>
#include <cassert>

namespace uvmm {
namespace {

// The ids that stand for a PCI Express host bridge of a virtual machine without further properties, in the
// vendor's list for them.
constexpr ConfigSpace::Identity kIdentity{.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

}  // namespace

HostBridge::HostBridge(std::span<u8> config_page) : config_(config_page, kIdentity) {
  functions_[0] = this;
}

void HostBridge::attach(u32 device, PciFunction& function) {
  assert(device > 0 && device < kDevices && !functions_[device]);
  functions_[device] = &function;
}

// Bits 12 to 14 are the function, 15 to 19 the device.
PciFunction* HostBridge::function_at(u64 offset, u64 length) const {
  if (offset >= kEcamBytes || (offset >> 12 & 7) != 0) return nullptr;
  if (length > ConfigSpace::kBytes - offset % ConfigSpace::kBytes) return nullptr;
  return functions_[offset >> 15];
}

void HostBridge::read(u64 offset, std::span<u8> bytes) {
  if (PciFunction* const function = function_at(offset, bytes.size()))
    return function->read_config(offset % ConfigSpace::kBytes, bytes);
  std::ranges::fill(bytes, u8{0xff});
}

void HostBridge::write(u64 offset, std::span<const u8> bytes) {
  if (PciFunction* const function = function_at(offset, bytes.size()))
    function->write_config(offset % ConfigSpace::kBytes, bytes);
}

}  // namespace uvmm
