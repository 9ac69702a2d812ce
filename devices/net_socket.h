// SPDX-License-Identifier: Apache-2.0
// NetSocket: a socket that keeps messages apart as the end of a network device: each message is an Ethernet
// frame, without anything before it. open() on any thread, everything else on the I/O thread.
#pragma once

#include <memory>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "devices/plain_net_end.h"
#include "vmm/base/fd.h"

namespace uvmm {

class NetSocket final : public PlainNetEnd {
 public:
  // Takes the one descriptor of `config`, whose kind is kSocket.
  static Result<std::unique_ptr<NetEnd>> open(const NetConfig& config);

  i32 receive(Io& io, u16 pair, std::span<const iovec> buffers) override;
  Task<i32> readable(Io& io, u16 pair) override;

 private:
  NetSocket(Fd fd, bool has_end, u32 longest_frame);
  Task<i32> send_in_turn(Io& io, std::span<const iovec> frame) override;

  Fd fd_;
  const bool has_end_;       // to receive nothing is to have come to it; datagrams go on
  std::vector<iovec> list_;  // where a frame goes
};

}  // namespace uvmm
