// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/thread.h"

#include "vmm/command/failure.h"

namespace uvmm::command {

Result<pthread_t> start_thread(std::size_t stack_bytes, void* (*main)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_t thread;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, stack_bytes);
  const int error = ::pthread_create(&thread, &attributes, main, argument);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) return fail(ErrorKind::kHost, "cannot start a thread: {}", error_text(error));
  return thread;
}

}  // namespace uvmm::command
