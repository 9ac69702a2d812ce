// SPDX-License-Identifier: Apache-2.0
// PanicWatch: notices the first words of a Linux kernel's panic in what the guest prints, however it is cut
// up. One thread. It is what tells a panic from a reboot; a guest may of course print the words without one.
#pragma once

#include <span>
#include <string_view>

#include "vmm/base/types.h"

namespace uvmm {

class PanicWatch {
 public:
  static constexpr std::string_view kWords = "Kernel panic - not syncing";

  void see(std::span<const u8> bytes) {
    for (const u8 byte : bytes) see(byte);
  }
  bool seen() const { return seen_; }

 private:
  // After a mismatch only the byte itself can begin the words anew, because their first letter is in them
  // once.
  static_assert(kWords.find(kWords.front(), 1) == std::string_view::npos);

  void see(u8 byte) {
    if (byte == static_cast<u8>(kWords[matched_])) {
      ++matched_;
    } else {
      matched_ = byte == static_cast<u8>(kWords.front()) ? 1 : 0;
    }
    if (matched_ < kWords.size()) return;
    seen_ = true;
    matched_ = 0;
  }

  std::size_t matched_ = 0;
  bool seen_ = false;
};

}  // namespace uvmm
