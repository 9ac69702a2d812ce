// SPDX-License-Identifier: Apache-2.0
// Signals: a thread that waits for the signals of a running VM. One per process; it lives until _exit().
#pragma once

#include <string>
#include <vector>

#include <uvmm/uvmm.hpp>

namespace uvmm::command {

// SIGTERM and SIGINT press the guest's power button, SIGHUP, SIGQUIT and any second signal end the VM, a
// third one the process on the spot. Those that are ignored when this is called (nohup, a script's background
// job) stay so. The guest is told the terminal's size at first and with SIGWINCH; SIGCONT makes the terminal
// raw again.
//
// To be called before the process has a second thread, so that no other thread takes them: they are blocked
// everywhere. Until then they do what they do to any process: they end it, even in the middle of a system
// call that takes long.
void block_signals();

// Starts the thread. It also gives back the memory of code that only the start needed, a second later. `vm`
// lives as long as the process. `files`, which are this process's own, are removed if it ends on the spot.
Result<void> watch_signals(Vm& vm, const std::vector<std::string>& files);

// The first signal that was to end the VM, or 0.
int ending_signal();

}  // namespace uvmm::command
