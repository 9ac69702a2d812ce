// SPDX-License-Identifier: Apache-2.0
// PlainNetEnd: a network device's host end that has one queue pair and no offloads, and to which one frame
// goes after the other, so that those that wait for room keep their order. I/O thread only.
#pragma once

#include "devices/net_end.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

class PlainNetEnd : public NetEnd {
 public:
  u64 offloads() const final { return 0; }
  u16 pairs() const final { return 1; }
  u32 longest_frame() const final { return longest_frame_; }
  Result<void> set_offloads(u64) final { return {}; }
  Result<void> set_pairs(u16) final { return {}; }
  Task<i32> send(Io& io, u16 pair, std::span<const iovec> frame) final;

 protected:
  explicit PlainNetEnd(u32 longest_frame) : longest_frame_(longest_frame) {}

 private:
  // As send(), while no other frame is on its way.
  virtual Task<i32> send_in_turn(Io& io, std::span<const iovec> frame) = 0;

  const u32 longest_frame_;
  bool sending_ = false;
  WaitList turn_to_send_;
};

}  // namespace uvmm
