// SPDX-License-Identifier: Apache-2.0
// MachineThread: runs a Machine on a thread of its own and keeps its outcome. Made and destroyed on one
// thread; the rest on any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "vmm/base/thread.h"
#include "vmm/machine.h"

namespace uvmm {

class MachineThread {
 public:
  static Result<std::unique_ptr<MachineThread>> start(Machine& machine);
  MachineThread(const MachineThread&) = delete;
  MachineThread& operator=(const MachineThread&) = delete;
  // Stops the machine.
  ~MachineThread();

  Outcome wait();
  std::optional<Outcome> wait_for(std::chrono::milliseconds time);

 private:
  explicit MachineThread(Machine& machine) : machine_(machine) {}
  void run();

  Machine& machine_;
  Thread thread_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<Outcome> outcome_;
};

}  // namespace uvmm
