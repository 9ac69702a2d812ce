// SPDX-License-Identifier: Apache-2.0
// `uvmm console VM`: this terminal as a second one at another process's console. Main thread.
#pragma once

#include <span>

#include <uvmm/error.hpp>

namespace uvmm::control {

// What follows `console`. Returns the exit status: 0 when the user has left it or the VM has ended, 128 and
// the signal's number when a signal has ended it. The terminal is as it was before, whatever happens.
Result<int> console(std::span<const char* const> arguments);

}  // namespace uvmm::control
