// SPDX-License-Identifier: Apache-2.0
// What is true of every command line and every configuration file.
#pragma once

#include <algorithm>
#include <optional>

#include "tests/fuzz/fuzz.h"
#include "vmm/command/messages.h"
#include "vmm/command/parse.h"
#include "vmm/command/print_config.h"

namespace uvmm::command {

inline void check_refusal(const Error& error, std::optional<ErrorKind> kind = {}) {
  require(!kind || error.kind == *kind);
  require(!error.message.empty() && error.message.size() < 2000);
  const auto is_control = [](char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f; };
  require(std::ranges::none_of(error.message, is_control));
  require(std::ranges::none_of(error.hint, is_control));
  require(text_message("", LogLevel::kError, error.message, error.hint).size() > error.message.size());
  require(json_message("", LogLevel::kError, "vm", error.message, error.hint).back() == '\n');
}

inline void check_accepted(const Settings& settings, const Origins& origins) {
  const Result<void> checked = check(settings.config);
  if (!checked) check_refusal(locate(checked.error(), origins));

  const Result<std::string> printed = print_config(settings);
  if (!printed) return check_refusal(printed.error());
  Settings again;
  Origins ignored;
  require(read_config(*printed, "printed", again, ignored).has_value());
  require(print_config(again) == *printed);
}

}  // namespace uvmm::command
