// SPDX-License-Identifier: Apache-2.0
// The texts of --help, made from the table of options. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include <uvmm/error.hpp>

namespace uvmm::command {

std::string short_usage();
std::string help();
// The keys of one group, or what made_text() has under that name; an error if there is neither.
Result<std::string> help_on(std::string_view group);

}  // namespace uvmm::command
