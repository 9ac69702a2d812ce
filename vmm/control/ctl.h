// SPDX-License-Identifier: Apache-2.0
// `uvmm ctl VM VERB`, `uvmm list`: the command as a client of other processes' VMs. Main thread.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <uvmm/error.hpp>

namespace uvmm::control {

// Where output goes.
using Print = std::function<void(std::string_view)>;

// What follows `ctl`, and what follows `list`.
Result<void> ctl(std::span<const char* const> arguments, const Print& print);
Result<void> list(std::span<const char* const> arguments, const Print& print);

std::string ctl_help();

// What ctl can be told, for the manual page and completions.
struct VerbHelp {
  std::string_view name, arguments, help;
};
std::vector<VerbHelp> ctl_verbs();

}  // namespace uvmm::control
