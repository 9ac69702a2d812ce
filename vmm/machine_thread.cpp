// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine_thread.h"

namespace uvmm {

Result<std::unique_ptr<MachineThread>> MachineThread::start(Machine& machine) {
  std::unique_ptr<MachineThread> thread(new MachineThread(machine));
  const int error = thread->thread_.start<&MachineThread::run>(*thread);
  if (error != 0) return fail(ErrorKind::kHost, "cannot start the VM's thread: {}", error_text(error));
  return thread;
}

MachineThread::~MachineThread() {
  if (thread_.started()) machine_.stop();
  thread_.join();
}

void MachineThread::run() {
  Outcome outcome = machine_.run();
  {
    const std::lock_guard lock(mutex_);
    outcome_ = std::move(outcome);
    ended_.notify_all();
  }
  machine_.announce_end();  // to those who then ask for the outcome
}

Outcome MachineThread::wait() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return outcome_.has_value(); });
  return *outcome_;
}

std::optional<Outcome> MachineThread::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, time, [this] { return outcome_.has_value(); });
  return outcome_;
}

}  // namespace uvmm
