// SPDX-License-Identifier: Apache-2.0
// WaitList: coroutines that wait for something within this thread that is no operation of the host, in the
// order of their arrival. The waiting ones' frames hold its entries. `co_await list.wait();`
#pragma once

#include <cassert>
#include <coroutine>
#include <utility>

namespace uvmm {

class WaitList {
 public:
  WaitList() = default;
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;
  ~WaitList() { assert(!first_); }

  struct Awaiter {
    WaitList& list;
    std::coroutine_handle<> waiting = nullptr;
    Awaiter* next = nullptr;

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> coroutine) noexcept {
      waiting = coroutine;
      *list.last_ = this;
      list.last_ = &next;
    }
    void await_resume() const noexcept {}
  };
  Awaiter wait() { return Awaiter{*this}; }

  bool empty() const { return first_ == nullptr; }

  void resume_one() {
    if (!first_) return;
    Awaiter& awaiter = *first_;
    first_ = awaiter.next;
    if (!first_) last_ = &first_;
    awaiter.waiting.resume();  // the awaiter is gone after this
  }

  // Those that wait now, not those that come to wait meanwhile.
  void resume_all() {
    last_ = &first_;
    Awaiter* awaiter = std::exchange(first_, nullptr);
    while (awaiter) std::exchange(awaiter, awaiter->next)->waiting.resume();
  }

 private:
  Awaiter* first_ = nullptr;
  Awaiter** last_ = &first_;
};

}  // namespace uvmm
