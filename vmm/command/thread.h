// SPDX-License-Identifier: Apache-2.0
// Threads of the command's own, beside those of the Vm.
#pragma once

#include <pthread.h>

#include <cstddef>

#include <uvmm/error.hpp>

namespace uvmm::command {

// Calls `main` with `argument` on a new thread, which the caller joins or detaches. Its signals are the
// caller's.
Result<pthread_t> start_thread(std::size_t stack_bytes, void* (*main)(void*), void* argument);

}  // namespace uvmm::command
