// SPDX-License-Identifier: Apache-2.0
// --print-config: all settings as a configuration file that reads back as the same settings. Pure functions.
#pragma once

#include <string>

#include <uvmm/error.hpp>

#include "vmm/command/settings.h"

namespace uvmm::command {

// Fails where a text cannot be written so, because it is not UTF-8.
Result<std::string> print_config(Settings settings);
// The same as one JSON object.
Result<std::string> print_config_json(Settings settings);

}  // namespace uvmm::command
