// SPDX-License-Identifier: Apache-2.0
// MsiRouter: the door through which PCI functions reach the interrupt controller. I/O thread only.
#pragma once

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

// What a message-signalled interrupt writes, and where (PCI 3.0, 6.8).
struct MsiMessage {
  u64 address = 0;
  u32 data = 0;
  bool operator==(const MsiMessage&) const = default;
};

// One interrupt line: a number in the routing table, and the eventfd that raises it.
struct InterruptLine {
  u32 gsi = 0;
  int event_fd = -1;  // borrowed
};

class MsiRouter {
 public:
  // A line of its own for one vector, for as long as this lives. It leads nowhere yet.
  virtual Result<InterruptLine> add_line() = 0;
  // Says where a line leads from now on. Takes effect with commit(), so that several changes cost one call.
  virtual void route(u32 gsi, const MsiMessage& message) = 0;
  // False if the host refuses the message, which the guest chose; that line is then dead until it is routed
  // again.
  virtual bool commit() = 0;

 protected:
  ~MsiRouter() = default;
};

}  // namespace uvmm
