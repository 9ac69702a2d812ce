// SPDX-License-Identifier: Apache-2.0
// PciFunction: what the host bridge reaches through configuration space. I/O thread only.
#pragma once

#include <span>

#include "vmm/base/types.h"

namespace uvmm {

class PciFunction {
 public:
  // Whatever the guest's instruction was: any offset within the space, any length from 1 byte on.
  virtual void read_config(u32 offset, std::span<u8> bytes) = 0;
  virtual void write_config(u32 offset, std::span<const u8> bytes) = 0;

 protected:
  ~PciFunction() = default;
};

}  // namespace uvmm
