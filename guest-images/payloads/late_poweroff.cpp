// SPDX-License-Identifier: Apache-2.0
// Waits for some tenths of a second, says "ready" and powers off, for the time that the end of a VM takes:
// the end of one that has just been created is another matter to KVM.
#include "payload.h"

namespace payload {
namespace {

constexpr u64 kTicks = 600'000'000;

u64 time_stamp() {
  u32 low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return u64{high} << 32 | low;
}

}  // namespace

void run() {
  const u64 start = time_stamp();
  while (time_stamp() - start < kTicks) {
  }
  print("ready\n");
}

}  // namespace payload
