// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/thread.h"

namespace uvmm {

sigset_t blocked_signals() {
  sigset_t set;
  ::sigfillset(&set);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) ::sigdelset(&set, signal);
  return set;
}

int Thread::start(void* (*main)(void*), void* owner, std::size_t stack_bytes) {
  const sigset_t blocked = blocked_signals();
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  if (stack_bytes > 0) ::pthread_attr_setstacksize(&attributes, stack_bytes);
  ::pthread_attr_setsigmask_np(&attributes, &blocked);
  const int error = ::pthread_create(&thread_, &attributes, main, owner);
  ::pthread_attr_destroy(&attributes);
  started_ = error == 0;
  return error;
}

void Thread::join() {
  if (!started_) return;
  ::pthread_join(thread_, nullptr);
  started_ = false;
}

}  // namespace uvmm
