// SPDX-License-Identifier: Apache-2.0
// VsockCredit: how much each side of a connection may still send (virtio 1.2, 5.10.6.3). Pure arithmetic. The
// counters wrap around; what the guest says of its own is believed as far as that can do no harm.
#pragma once

#include <linux/virtio_vsock.h>

#include "vmm/base/types.h"

namespace uvmm {

class VsockCredit {
 public:
  // What the guest may send ahead of what the host's socket has taken: the most that is ever kept here.
  static constexpr u32 kWindow = 256_KiB;

  // --- to the guest
  void guest_says(u32 buf_alloc, u32 fwd_cnt) {
    guest_buf_alloc_ = buf_alloc;
    guest_fwd_cnt_ = fwd_cnt;
  }
  u32 guest_buffer() const { return guest_buf_alloc_; }
  // How much the guest has room for. Nothing, if its words make no sense.
  u32 guest_room() const {
    const u32 on_the_way = tx_cnt_ - guest_fwd_cnt_;
    return on_the_way < guest_buf_alloc_ ? guest_buf_alloc_ - on_the_way : 0;
  }
  void sent(u32 bytes) { tx_cnt_ += bytes; }

  // --- from the guest
  // False, and not counted, if that is more than it was given.
  bool received(u32 bytes) {
    if (bytes > kWindow - kept()) return false;
    rx_cnt_ += bytes;
    return true;
  }
  void forwarded(u32 bytes) { fwd_cnt_ += bytes; }
  u32 kept() const { return rx_cnt_ - fwd_cnt_; }
  bool update_due() const { return fwd_cnt_ - told_fwd_cnt_ >= kWindow / 2; }
  void tell(virtio_vsock_hdr& header) {
    header.buf_alloc = kWindow;
    header.fwd_cnt = told_fwd_cnt_ = fwd_cnt_;
  }

 private:
  u32 guest_buf_alloc_ = 0;
  u32 guest_fwd_cnt_ = 0;
  u32 tx_cnt_ = 0;
  u32 rx_cnt_ = 0;
  u32 fwd_cnt_ = 0;
  u32 told_fwd_cnt_ = 0;
};

}  // namespace uvmm
