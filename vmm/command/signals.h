// SPDX-License-Identifier: Apache-2.0
// Signals: a thread that waits for the signals of a running VM. One per process; it lives until _exit().
#pragma once

#include <string>

#include <uvmm/uvmm.hpp>

namespace uvmm::command {

// SIGTERM, SIGINT, SIGHUP and SIGQUIT end the VM; a second one ends the process on the spot. The guest is
// told the terminal's size at first and with SIGWINCH; SIGCONT makes the terminal raw again.
//
// To be called before any thread exists, so that no other thread takes them: they are blocked everywhere.
void block_signals();

// Starts the thread. It also gives back the memory of code that only the start needed, a second later. `vm`
// lives as long as the process. `pidfile` is removed if the process ends on the spot; it may be empty.
Result<void> watch_signals(Vm& vm, const std::string& pidfile);

// The signal that ended the VM, or 0.
int ending_signal();

}  // namespace uvmm::command
