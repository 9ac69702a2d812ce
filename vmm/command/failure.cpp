// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/failure.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace uvmm::command {
namespace {

constexpr std::size_t kLongestQuote = 160;
constexpr std::size_t kLongestWord = 64;  // edit_distance is quadratic

}  // namespace

std::string quote(std::string_view text) {
  std::string quoted;
  const bool cut = text.size() > kLongestQuote;
  for (const char byte : text.substr(0, kLongestQuote)) {
    const auto code = static_cast<unsigned char>(byte);
    if (code < 0x20 || code == 0x7f) {
      quoted += fmt::format("\\x{:02x}", code);
    } else {
      quoted += byte;
    }
  }
  if (cut) quoted += fmt::format("... ({} bytes)", text.size());
  return quoted;
}

std::size_t edit_distance(std::string_view from, std::string_view to) {
  if (from.size() > kLongestWord || to.size() > kLongestWord) return kLongestWord;
  std::vector<std::size_t> before_last(to.size() + 1), last(to.size() + 1), row(to.size() + 1);
  for (std::size_t i = 0; i <= to.size(); ++i) last[i] = i;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (from[i - 1] != to[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[to.size()];
}

std::string error_text(int error) {
  const char* const text = ::strerrordesc_np(error);
  return text ? text : fmt::format("error {}", error);
}

}  // namespace uvmm::command
