// SPDX-License-Identifier: Apache-2.0
// PanicWatch: notices the first words of a Linux kernel's panic in what the guest prints, however it is cut
// up. One thread. It is what tells a panic from a reboot; a guest may of course print the words without one.
#pragma once

#include <cstring>
#include <span>
#include <string_view>

#include "vmm/base/types.h"

namespace uvmm {

class PanicWatch {
 public:
  static constexpr std::string_view kWords = "Kernel panic - not syncing";

  void see(std::span<const u8> bytes) {
    while (!bytes.empty()) {
      if (matched_ == 0) {  // nearly always: nothing but the first letter matters
        const void* const first = std::memchr(bytes.data(), kWords.front(), bytes.size());
        if (!first) return;
        bytes = bytes.subspan(static_cast<std::size_t>(static_cast<const u8*>(first) - bytes.data()));
      }
      see(bytes.front());
      bytes = bytes.subspan(1);
    }
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
