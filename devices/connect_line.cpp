// SPDX-License-Identifier: Apache-2.0
#include "devices/connect_line.h"

#include <linux/vm_sockets.h>

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

namespace uvmm {
namespace {

constexpr std::string_view kWord = "connect";
constexpr std::string_view kBlanks = " \t\r";

// The first word of `text`, taken off with the blanks around it.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
  text.remove_prefix(word.size());
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return word;
}

bool is_connect(std::string_view word) {
  if (word.size() != kWord.size()) return false;
  for (std::size_t i = 0; i < word.size(); ++i)
    if ((word[i] | 0x20) != kWord[i]) return false;
  return true;
}

}  // namespace

std::optional<u32> parse_connect_line(std::string_view line) {
  if (!is_connect(take_word(line))) return std::nullopt;
  const std::string_view digits = take_word(line);
  u32 port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool is_number = error == std::errc{} && end == digits.data() + digits.size();
  if (!is_number || !line.empty() || port == VMADDR_PORT_ANY) return std::nullopt;
  return port;
}

std::string connect_request(u32 port) {
  return fmt::format("CONNECT {}\n", port);
}

std::string connect_answer(u32 host_port) {
  return fmt::format("OK {}\n", host_port);
}

}  // namespace uvmm
