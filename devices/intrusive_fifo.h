// SPDX-License-Identifier: Apache-2.0
// IntrusiveFifo<T, &T::next>: a first-in, first-out list of objects that have a link for it, and that it does
// not own. One thread.
#pragma once

#include "vmm/base/types.h"

namespace uvmm {

template <typename T, T* T::* Next>
class IntrusiveFifo {
 public:
  bool empty() const { return first_ == nullptr; }
  u32 size() const { return size_; }
  T* front() const { return first_; }

  void push_back(T& item) {
    item.*Next = nullptr;
    (first_ ? last_->*Next : first_) = &item;
    last_ = &item;
    ++size_;
  }
  void push_front(T& item) {
    item.*Next = first_;
    if (!first_) last_ = &item;
    first_ = &item;
    ++size_;
  }
  T& pop_front() {
    T& item = *first_;
    first_ = item.*Next;
    --size_;
    return item;
  }
  // Takes out `item`, which is in the list, wherever it is.
  void erase(T& item) {
    T* before = nullptr;
    for (T* other = first_; other != &item; other = other->*Next) before = other;
    (before ? before->*Next : first_) = item.*Next;
    if (last_ == &item) last_ = before;
    --size_;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
  u32 size_ = 0;
};

}  // namespace uvmm
