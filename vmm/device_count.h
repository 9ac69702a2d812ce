// SPDX-License-Identifier: Apache-2.0
// How many devices a configuration has, each a function of PCI bus 0. Pure functions.
#pragma once

#include <uvmm/uvmm.hpp>

#include "vmm/base/types.h"

namespace uvmm {

inline u32 count_devices_but_disks(const Config& config) {
  const u32 listed = static_cast<u32>(config.nets.size() + config.shares.size());
  return listed + config.vsock.has_value() + config.rng + config.balloon.enabled + config.power_button +
         (config.console.kind != ConsoleConfig::Kind::kOff);
}

inline u32 count_devices(const Config& config) {
  return static_cast<u32>(config.disks.size()) + count_devices_but_disks(config);
}

}  // namespace uvmm
