// SPDX-License-Identifier: Apache-2.0
// ByteRing: a bounded first-in, first-out buffer of bytes. One thread. What front() names stays in place
// until it is dropped, so that the host may write from it meanwhile.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include "vmm/base/types.h"

namespace uvmm {

class ByteRing {
 public:
  explicit ByteRing(u64 capacity) : bytes_(new u8[capacity]), capacity_(capacity) {}

  u64 size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Appends as much of `source` as there is room for, and says how much that was.
  u64 push(std::span<const u8> source) {
    const u64 total = std::min<u64>(source.size(), capacity_ - size_);
    const u64 end = (start_ + size_) % capacity_;
    const u64 first = std::min(total, capacity_ - end);
    if (first > 0) std::memcpy(bytes_.get() + end, source.data(), first);
    if (total > first) std::memcpy(bytes_.get(), source.data() + first, total - first);
    size_ += total;
    return total;
  }

  // The same, so that afterwards there are at most the last `most` bytes.
  void push_last(std::span<const u8> source, u64 most) {
    source = source.last(std::min<u64>(source.size(), most));
    const u64 total = size_ + source.size();
    if (total > most) drop_front(total - most);
    push(source);
  }

  // The oldest bytes, as far as they lie together.
  std::span<const u8> front() const { return {bytes_.get() + start_, std::min(size_, capacity_ - start_)}; }

  // The bytes after those.
  std::span<const u8> back() const { return {bytes_.get(), size_ - front().size()}; }

  void drop_front(u64 count) {
    count = std::min(count, size_);
    size_ -= count;
    // From the beginning when it is empty: the pages behind stay untouched as long as little is buffered.
    start_ = size_ == 0 ? 0 : (start_ + count) % capacity_;
  }

 private:
  std::unique_ptr<u8[]> bytes_;
  u64 capacity_;
  u64 start_ = 0;
  u64 size_ = 0;
};

}  // namespace uvmm
