// SPDX-License-Identifier: Apache-2.0
// DoorbellMaker: the door through which devices get eventfds in place of exits. I/O thread only.
#pragma once

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

class DoorbellMaker {
 public:
  // An eventfd that each write to `where`, of any length, signals from now on, with no exit. Borrowed; it is
  // there as long as this.
  virtual Result<int> add_doorbell(GuestAddress where) = 0;

 protected:
  ~DoorbellMaker() = default;
};

}  // namespace uvmm
