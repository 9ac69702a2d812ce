// SPDX-License-Identifier: Apache-2.0
// Numbers that look random, the same in each run; for one vCPU.
#pragma once

#include "payload.h"

namespace payload {

inline u64 random() {
  static u64 state = 0x9e37'79b9'7f4a'7c15;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

// So that an attacker meets what it attacks at any moment.
inline void wait_a_little() {
  for (u64 left = random() % 32; left > 0; --left) asm volatile("pause");
}

}  // namespace payload
