// SPDX-License-Identifier: Apache-2.0
// Counter: a number that one thread adds to and that any thread may read.
#pragma once

#include <atomic>

#include "vmm/base/types.h"

namespace uvmm {

class Counter {
 public:
  // One thread at a time: no need of a locked instruction.
  void add(u64 amount = 1) { value_.store(value() + amount, std::memory_order_relaxed); }
  u64 value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<u64> value_ = 0;
};

}  // namespace uvmm
