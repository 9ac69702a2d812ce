// SPDX-License-Identifier: Apache-2.0
// Random: the source of all that a simulation decides; the same for the same seed, on any machine.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "vmm/base/types.h"

namespace uvmm {

class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}

  u64 next() {  // splitmix64
    u64 mixed = state_ += 0x9e37'79b9'7f4a'7c15;
    mixed = (mixed ^ mixed >> 30) * 0xbf58'476d'1ce4'e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d0'49bb'1331'11eb;
    return mixed ^ mixed >> 31;
  }
  u64 below(u64 end) { return next() % end; }
  u64 between(u64 least, u64 most) { return least + below(most - least + 1); }
  bool one_in(u64 times) { return below(times) == 0; }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  std::vector<u8> bytes(u64 count) {
    std::vector<u8> made(count);
    for (u8& byte : made) byte = static_cast<u8>(next());
    return made;
  }

 private:
  u64 state_;
};

}  // namespace uvmm
