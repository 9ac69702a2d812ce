// SPDX-License-Identifier: Apache-2.0
// PostedBuffers: buffers that the driver has posted and that wait in the device until it has something to
// say, oldest first. I/O thread only; emptied before their queue ends.
#pragma once

#include <array>
#include <cassert>
#include <optional>
#include <utility>

#include "devices/virtio/virtqueue.h"

namespace uvmm {

// `Size` is the queue's: it never has more of them out.
template <u16 Size>
class PostedBuffers {
 public:
  bool empty() const { return count_ == 0; }
  u32 size() const { return count_; }

  void push(DescriptorChain&& buffer) {
    assert(count_ < Size);
    buffers_[(oldest_ + count_) % Size].emplace(std::move(buffer));
    ++count_;
  }
  DescriptorChain& front() { return *buffers_[oldest_]; }
  // Back to the driver.
  void pop() {
    buffers_[oldest_].reset();
    oldest_ = (oldest_ + 1) % Size;
    --count_;
  }
  void clear() {
    while (!empty()) pop();
  }

 private:
  std::array<std::optional<DescriptorChain>, Size> buffers_;
  u32 oldest_ = 0;
  u32 count_ = 0;
};

}  // namespace uvmm
