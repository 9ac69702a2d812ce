// SPDX-License-Identifier: Apache-2.0
// EscapeFilter: takes the escape sequences out of what a user types. One thread.
//
// Ctrl-a x ends the VM, Ctrl-a a is one Ctrl-a; after any other key both go to the guest, so that a Ctrl-a
// typed in haste loses nothing.
#pragma once

#include <span>

#include "vmm/base/types.h"

namespace uvmm {

class EscapeFilter {
 public:
  // Puts what is for the guest into `output`, which has room for one byte more than `input`; how many.
  u64 filter(std::span<const u8> input, std::span<u8> output) {
    u64 count = 0;
    for (const u8 key : input) {
      if (quit_) break;
      if (!escaped_) {
        escaped_ = key == kEscape;
        if (!escaped_) output[count++] = key;
        continue;
      }
      escaped_ = false;
      quit_ = key == 'x';
      if (quit_) break;
      output[count++] = kEscape;
      if (key != 'a') output[count++] = key;
    }
    return count;
  }

  bool quit() const { return quit_; }

 private:
  static constexpr u8 kEscape = 0x01;

  bool escaped_ = false;
  bool quit_ = false;
};

}  // namespace uvmm
