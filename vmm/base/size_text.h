// SPDX-License-Identifier: Apache-2.0
// size_text(): a size as users write it. Any thread.
#pragma once

#include <string>
#include <string_view>

#include <fmt/core.h>

#include "vmm/base/types.h"

namespace uvmm {

inline std::string size_text(u64 bytes) {
  constexpr std::string_view kUnits = "KMGT";
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}", bytes) : fmt::format("{}{}", bytes, kUnits[unit - 1]);
}

}  // namespace uvmm
