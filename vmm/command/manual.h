// SPDX-License-Identifier: Apache-2.0
// What is made from the table of options for other programs: the manual page, and completions for shells.
// Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace uvmm::command {

std::string manual_page();  // roff with man(7)'s macros
std::string bash_completion();
std::string zsh_completion();
std::string fish_completion();

// The text that `--help NAME` prints instead of a group: "man", "bash", "zsh", "fish"; empty for other names.
std::string made_text(std::string_view name);

}  // namespace uvmm::command
