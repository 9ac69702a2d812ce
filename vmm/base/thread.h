// SPDX-License-Identifier: Apache-2.0
// Thread: a thread of this library's own. It takes none of the process's signals, only those that a fault of
// its own raises. Started and joined by one thread.
#pragma once

#include <pthread.h>

#include <csignal>
#include <cstddef>

namespace uvmm {

class Thread {
 public:
  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread() { join(); }

  // Has a thread call that member function. 0, or an errno value. With no size the stack is as large as any.
  template <auto kMain, typename Owner>
  int start(Owner& owner, std::size_t stack_bytes = 0) {
    const auto main = [](void* self) -> void* {
      (static_cast<Owner*>(self)->*kMain)();
      return nullptr;
    };
    return start(main, &owner, stack_bytes);
  }
  bool started() const { return started_; }
  pthread_t id() const { return thread_; }  // once it has been started

  // Waits for its end, if it has been started.
  void join();

 private:
  int start(void* (*main)(void*), void* owner, std::size_t stack_bytes);

  bool started_ = false;  // and not joined
  pthread_t thread_{};
};

// The signals that are blocked in each of them.
sigset_t blocked_signals();

}  // namespace uvmm
