// SPDX-License-Identifier: Apache-2.0
// The command's own files, which no guest may have in a directory that it can write to. Main thread.
#pragma once

#include <uvmm/error.hpp>

#include "vmm/command/settings.h"

namespace uvmm::command {

// Refuses a share, unless it is read-only, in which the configuration file, the log, the pidfile or the
// control socket is or would be. What the library itself opens, it looks after itself.
Result<void> check_own_files(const Settings& settings);

}  // namespace uvmm::command
