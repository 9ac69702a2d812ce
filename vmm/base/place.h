// SPDX-License-Identifier: Apache-2.0
// Where files are, whatever symbolic links lead there. Any thread.
#pragma once

#include <string>

namespace uvmm {

// The path without symbolic links; empty if there is no such file.
std::string real_path(const std::string& path);
// The same of a file that is or will be there, its directories included; empty for an empty path.
std::string real_place(const std::string& path);
// Whether a real place is below a real directory.
bool lies_in(const std::string& place, const std::string& directory);

}  // namespace uvmm
