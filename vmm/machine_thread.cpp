// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine_thread.h"

#include <csignal>

namespace uvmm {

Result<std::unique_ptr<MachineThread>> MachineThread::start(Machine& machine) {
  std::unique_ptr<MachineThread> thread(new MachineThread(machine));
  sigset_t all;
  ::sigfillset(&all);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setsigmask_np(&attributes, &all);
  const auto main = [](void* self) -> void* {
    static_cast<MachineThread*>(self)->run();
    return nullptr;
  };
  const int error = ::pthread_create(&thread->thread_, &attributes, main, thread.get());
  ::pthread_attr_destroy(&attributes);
  if (error != 0) return fail(ErrorKind::kHost, "cannot start the VM's thread: {}", error_text(error));
  thread->joinable_ = true;
  return thread;
}

MachineThread::~MachineThread() {
  if (!joinable_) return;
  machine_.stop();
  ::pthread_join(thread_, nullptr);
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
