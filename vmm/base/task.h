// SPDX-License-Identifier: Apache-2.0
// Task<T>: a lazy coroutine that yields one T. TaskScope: the owner of coroutines that run on their own.
//
// Both live on one I/O thread and are never handed to another. A Task that is awaited runs inside the
// awaiting coroutine; if it finishes without suspending, the awaiting one goes on in the same stack frame, so
// that a loop over tasks that finish at once runs in bounded stack even where the compiler has no tail calls
// (facts: -O0 and sanitizers).
//
// Because of g++ 12, `co_await` stands alone: as a statement, or as the whole initialiser of a named
// variable, and the arguments within its operand are names.
#pragma once

#include <cassert>
#include <coroutine>
#include <cstdlib>
#include <optional>
#include <utility>

#include "vmm/base/frame_pool.h"
#include "vmm/base/types.h"

namespace uvmm {

class TaskScope;

namespace internal {

struct PromiseBase {
  std::coroutine_handle<> continuation;  // who awaits this task, once it has suspended
  TaskScope* scope = nullptr;            // who owns it, when nobody awaits it

  static void* operator new(std::size_t bytes) { return FramePool::of_this_thread().allocate(bytes); }
  static void operator delete(void* frame, std::size_t bytes) {
    FramePool::of_this_thread().release(frame, bytes);
  }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> finished) const noexcept;
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }
};

template <typename T>
struct Promise : PromiseBase {
  std::optional<T> value;
  void return_value(T result) { value.emplace(std::move(result)); }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  void return_void() const {}
  void take() const {}
};

}  // namespace internal

template <typename T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : internal::Promise<T> {
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
  };

  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  struct Awaiter {
    std::coroutine_handle<promise_type> frame;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiting) const noexcept {
      frame.resume();
      if (frame.done()) return false;
      frame.promise().continuation = awaiting;
      return true;
    }
    T await_resume() const { return frame.promise().take(); }
  };
  Awaiter operator co_await() && noexcept { return Awaiter{frame_}; }

 private:
  friend class TaskScope;
  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

// Owns every coroutine spawned into it. It must be empty when it dies: cancel what they wait for, then await
// drained().
class TaskScope {
 public:
  TaskScope() = default;
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;
  ~TaskScope() { assert(running_ == 0); }

  // Runs `task` to its first suspension.
  void spawn(Task<> task) {
    const auto frame = std::exchange(task.frame_, nullptr);
    frame.promise().scope = this;
    ++running_;
    frame.resume();
  }

  bool empty() const { return running_ == 0; }
  u32 size() const { return running_; }

  struct DrainAwaiter {
    TaskScope& scope;
    bool await_ready() const noexcept { return scope.empty(); }
    void await_suspend(std::coroutine_handle<> waiting) const noexcept {
      assert(!scope.drain_waiter_);
      scope.drain_waiter_ = waiting;
    }
    void await_resume() const noexcept {}
  };
  // Resumes when the last coroutine has ended. One waiter at a time, and not one of the scope's own
  // coroutines.
  DrainAwaiter drained() { return DrainAwaiter{*this}; }

 private:
  friend internal::PromiseBase;
  void finished() {
    if (--running_ == 0 && drain_waiter_) std::exchange(drain_waiter_, nullptr).resume();
  }

  u32 running_ = 0;
  std::coroutine_handle<> drain_waiter_;
};

template <typename Promise>
void internal::PromiseBase::FinalAwaiter::await_suspend(
    std::coroutine_handle<Promise> finished) const noexcept {
  PromiseBase& promise = finished.promise();
  if (promise.continuation) {
    promise.continuation.resume();  // may destroy this frame: nothing of it is touched afterwards
  } else if (TaskScope* const owner = promise.scope) {
    finished.destroy();
    owner->finished();
  }
}

}  // namespace uvmm
