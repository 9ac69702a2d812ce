// SPDX-License-Identifier: Apache-2.0
// Arguments: a command line taken apart into options of the table, each with its text. Plain data.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <uvmm/error.hpp>

#include "vmm/command/options.h"

namespace uvmm::command {

struct Argument {
  const Option* option;
  std::string text;  // `on` or `off` for a switch
};

// `argv` as main() has it, the program's name included. In the order given; nothing is checked but that the
// options exist and have their values.
Result<std::vector<Argument>> split_arguments(std::span<const char* const> argv);

}  // namespace uvmm::command
