// SPDX-License-Identifier: Apache-2.0
#include "devices/plain_net_end.h"

namespace uvmm {

Task<i32> PlainNetEnd::send(Io& io, u16, std::span<const iovec> frame) {
  while (sending_) co_await turn_to_send_.wait();
  sending_ = true;
  const i32 sent = co_await send_in_turn(io, frame);
  sending_ = false;
  turn_to_send_.resume_one();
  co_return sent;
}

}  // namespace uvmm
