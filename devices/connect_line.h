// SPDX-License-Identifier: Apache-2.0
// The line with which a host program names the guest's port that it wants: "CONNECT 22\n". Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "vmm/base/types.h"

namespace uvmm {

inline constexpr u64 kMostConnectLineBytes = 64;  // with the newline

// The port of `line`, which has no newline; nothing if it is no such line. The word in either case, blanks
// between and after.
std::optional<u32> parse_connect_line(std::string_view line);

// Such a line, with the newline.
std::string connect_request(u32 port);

// What the program reads once the guest has accepted: "OK 1073741824\n".
std::string connect_answer(u32 host_port);

}  // namespace uvmm
