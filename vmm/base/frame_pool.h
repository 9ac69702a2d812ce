// SPDX-License-Identifier: Apache-2.0
// FramePool: recycles coroutine frames, so that a device allocates nothing once it is warm. One per thread.
#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace uvmm {

class FramePool {
 public:
  // The calling thread's pool; its free frames go back to the heap when the thread ends.
  static FramePool& of_this_thread() {
    thread_local FramePool pool;
    return pool;
  }

  FramePool() = default;
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  ~FramePool() { trim(); }

  void* allocate(std::size_t bytes) {
    const std::size_t size_class = class_of(bytes);
    if (size_class >= kClasses) return ::operator new(bytes);
    if (FreeFrame* const frame = free_[size_class]) {
      free_[size_class] = frame->next;
      return frame;
    }
    return ::operator new((size_class + 1) * kStep);
  }

  void release(void* frame, std::size_t bytes) {
    const std::size_t size_class = class_of(bytes);
    if (size_class >= kClasses) return ::operator delete(frame);
    free_[size_class] = new (frame) FreeFrame{free_[size_class]};
  }

  void trim() {
    for (FreeFrame*& head : free_) {
      while (head) {
        FreeFrame* const next = head->next;
        ::operator delete(head);
        head = next;
      }
    }
  }

 private:
  struct FreeFrame {
    FreeFrame* next;
  };
  static constexpr std::size_t kStep = 64;
  static constexpr std::size_t kClasses = 32;  // frames up to 2 KiB; larger ones are rare and go to the heap
  static constexpr std::size_t class_of(std::size_t bytes) { return (bytes - 1) / kStep; }

  std::array<FreeFrame*, kClasses> free_{};
};

}  // namespace uvmm
