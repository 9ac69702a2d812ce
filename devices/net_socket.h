// SPDX-License-Identifier: Apache-2.0
// NetSocket: a socket that keeps messages apart as the end of a network device: each message is an Ethernet
// frame, without anything before it. open() on any thread, everything else on the I/O thread.
#pragma once

#include <memory>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "devices/net_end.h"
#include "vmm/base/fd.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

class NetSocket final : public NetEnd {
 public:
  // Takes the one descriptor of `config`, whose kind is kSocket.
  static Result<std::unique_ptr<NetEnd>> open(const NetConfig& config);

  u64 offloads() const override { return 0; }
  u16 pairs() const override { return 1; }
  u32 longest_frame() const override { return longest_frame_; }
  Result<void> set_offloads(u64) override { return {}; }
  Result<void> set_pairs(u16) override { return {}; }
  Task<i32> send(Io& io, u16 pair, std::span<const iovec> frame) override;
  i32 receive(Io& io, u16 pair, std::span<const iovec> buffers) override;
  Task<i32> readable(Io& io, u16 pair) override;

 private:
  NetSocket(Fd fd, u32 longest_frame);
  Task<i32> send_in_turn(Io& io, std::span<const iovec> frame);

  Fd fd_;
  const u32 longest_frame_;
  std::vector<iovec> list_;  // where a frame goes
  bool sending_ = false;
  WaitList turn_to_send_;
};

}  // namespace uvmm
