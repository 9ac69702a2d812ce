// SPDX-License-Identifier: Apache-2.0
// PanicWatch: notices the first words of a Linux kernel's panic in what the guest prints, however it is cut
// up. One thread. It is what tells a panic from a reboot; a guest may of course print the words without one.
#pragma once

#include <algorithm>
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
      const std::span<const u8> piece = bytes.first(std::min(bytes.size(), kPieceBytes));
      bytes = bytes.subspan(piece.size());
      if (matched_ == 0 && !std::memchr(piece.data(), kWords.front(), piece.size())) continue;
      for (const u8 byte : piece) see(byte);
    }
  }
  bool seen() const { return seen_; }

 private:
  // Passed over at once if the first letter is not in it. Not from one such letter to the next, or a guest
  // that prints nothing else would make each of them a search.
  static constexpr std::size_t kPieceBytes = 256;

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
