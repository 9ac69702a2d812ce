// SPDX-License-Identifier: Apache-2.0
// --dry-run: checks without a trace. Main thread.
#pragma once

#include <uvmm/error.hpp>

#include "vmm/command/settings.h"

namespace uvmm::command {

// Checks that the files which a start would create can be, and changes `settings` so that a Vm that is
// created from them leaves nothing behind: neither those files nor an unpacked kernel. Memory is not filled.
Result<void> prepare_dry_run(Settings& settings);

}  // namespace uvmm::command
