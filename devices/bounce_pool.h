// SPDX-License-Identifier: Apache-2.0
// BouncePool: a few aligned buffers for direct I/O from guest memory that is not aligned for it. I/O thread
// only. Their number bounds the memory, their reuse spares allocations; who finds none waits.
//
//   while (pool.empty()) co_await pool.returned();
//   const BouncePool::Lease lease(pool);
#pragma once

#include <memory>
#include <new>
#include <span>
#include <vector>

#include "vmm/base/types.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

class BouncePool {
 public:
  static constexpr u64 kBufferBytes = 128_KiB;

  // All of the address space at once; the kernel gives memory when a buffer is first used.
  explicit BouncePool(u32 buffers)
      : arena_(static_cast<u8*>(::operator new(buffers* kBufferBytes, kAlignment))) {
    free_.reserve(buffers);
    for (u32 i = buffers; i > 0; --i) free_.push_back(arena_.get() + (i - 1) * kBufferBytes);
  }

  bool empty() const { return free_.empty(); }
  WaitList::Awaiter returned() { return returned_.wait(); }

  // Holds one buffer of a pool that is not empty.
  class Lease {
   public:
    explicit Lease(BouncePool& pool) : pool_(pool), buffer_(pool.free_.back()) { pool.free_.pop_back(); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      pool_.free_.push_back(buffer_);
      pool_.returned_.resume_one();
    }
    std::span<u8> bytes() const { return {buffer_, kBufferBytes}; }

   private:
    BouncePool& pool_;
    u8* const buffer_;
  };

 private:
  static constexpr std::align_val_t kAlignment{kPageSize};
  struct Free {
    void operator()(u8* arena) const { ::operator delete(arena, kAlignment); }
  };

  std::unique_ptr<u8, Free> arena_;
  std::vector<u8*> free_;
  WaitList returned_;
};

}  // namespace uvmm
