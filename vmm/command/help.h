// SPDX-License-Identifier: Apache-2.0
// The texts of --help, made from the table of options. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include <uvmm/error.hpp>

namespace uvmm::command {

std::string short_usage();
std::string help();
// The keys of one group; an error if there is no such group.
Result<std::string> help_on(std::string_view group);

}  // namespace uvmm::command
