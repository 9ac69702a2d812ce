// SPDX-License-Identifier: Apache-2.0
// FlushOrder: lets a flush wait for the writes that were in flight when it came, and for no later one. I/O
// thread only; its entries live in the requests' frames.
#pragma once

#include <cassert>
#include <coroutine>

namespace uvmm {

class FlushOrder {
  // Writes, and the flushes that wait, in the order of their arrival. A flush is never first: it would have
  // nothing to wait for.
  struct Entry {
    Entry* previous = nullptr;
    Entry* next = nullptr;
    std::coroutine_handle<> flush;  // null: a write
  };

 public:
  FlushOrder() = default;
  FlushOrder(const FlushOrder&) = delete;
  FlushOrder& operator=(const FlushOrder&) = delete;
  ~FlushOrder() { assert(!first_); }

  // A write, from its start to its end.
  class Write : Entry {
   public:
    explicit Write(FlushOrder& order) : order_(order) { order_.append(*this); }
    Write(const Write&) = delete;
    Write& operator=(const Write&) = delete;
    ~Write() {
      order_.remove(*this);
      order_.resume_flushes();
    }

   private:
    FlushOrder& order_;
  };

  struct EarlierWrites : Entry {
    explicit EarlierWrites(FlushOrder& o) : order(o) {}
    bool await_ready() const noexcept { return !order.first_; }
    void await_suspend(std::coroutine_handle<> waiting) noexcept {
      flush = waiting;
      order.append(*this);
    }
    void await_resume() const noexcept {}
    FlushOrder& order;
  };
  // Resumes when every write that is in flight now has ended.
  EarlierWrites earlier_writes() { return EarlierWrites(*this); }

 private:
  void append(Entry& entry) {
    entry.previous = last_;
    (last_ ? last_->next : first_) = &entry;
    last_ = &entry;
  }
  void remove(Entry& entry) {
    (entry.previous ? entry.previous->next : first_) = entry.next;
    (entry.next ? entry.next->previous : last_) = entry.previous;
  }
  void resume_flushes() {
    while (first_ && first_->flush) {
      const std::coroutine_handle<> flush = first_->flush;
      remove(*first_);
      flush.resume();
    }
  }

  Entry* first_ = nullptr;
  Entry* last_ = nullptr;
};

}  // namespace uvmm
