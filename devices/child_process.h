// SPDX-License-Identifier: Apache-2.0
// ChildProcess: a helper program of a device. Move-only; ends it when it goes. Any one thread at a time.
//
// The child has a process group of its own, so that a terminal's Ctrl-C is not for it, no signal blocked or
// ignored, and no descriptor but those it is given.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace uvmm {

class ChildProcess {
 public:
  static constexpr int kSocket = 3;  // the number that the child has `socket` under

  // `arguments` begin with the program, which is looked up in $PATH. Standard input and output are /dev/null.
  static Result<ChildProcess> start(const std::vector<std::string>& arguments, int socket,
                                    int standard_error);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t id() const { return id_; }

 private:
  ChildProcess(pid_t id, Fd pidfd) : id_(id), pidfd_(std::move(pidfd)) {}

  pid_t id_ = -1;
  Fd pidfd_;  // whoever else waits for children of this process cannot make the number another's
};

}  // namespace uvmm
