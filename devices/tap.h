// SPDX-License-Identifier: Apache-2.0
// Tap: a tap or macvtap of the host as the end of a network device. open() on any thread, everything else on
// the I/O thread.
//
// It has a descriptor for each queue pair. Frames carry their virtio_net_hdr_v1 as it is, so that the two
// kernels leave checksums and segmentation to each other as far as the driver has negotiated it. The link is
// up while the interface is and has a carrier, as far as that can be seen from here.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "devices/net_end.h"
#include "vmm/base/fd.h"
#include "vmm/base/log.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

// The TUN_F_ flags (linux/if_tun.h) that say what the reader of a tap can take, for the VIRTIO_NET_F_ bits of
// `features`. The kernel refuses flags that lack what they build upon, so these are left out.
unsigned tun_offload_flags(u64 features);

class Tap final : public NetEnd {
 public:
  // Opens the tap, or takes the descriptors, that `config` names; its kind is kTap or kFds. `pairs` is how
  // many there are to be where neither `config` nor the tap says otherwise.
  static Result<std::unique_ptr<Tap>> open(const NetConfig& config, u16 pairs, Log& log);

  u64 offloads() const override { return offloads_; }
  u16 pairs() const override { return static_cast<u16>(queues_.size()); }
  u32 longest_frame() const override { return longest_frame_; }
  Result<void> set_offloads(u64 features) override;
  Result<void> set_pairs(u16 pairs) override;
  Task<i32> send(Io& io, u16 pair, std::span<const iovec> frame) override;
  i32 receive(Io& io, u16 pair, std::span<const iovec> buffers) override;
  Task<i32> readable(Io& io, u16 pair) override;
  std::string_view interface() const override { return name_; }
  std::optional<MacAddress> only_mac() const override { return only_mac_; }
  bool link_up() const override { return link_up_; }
  Task<> watch_link(Io& io) override;

 private:
  struct Queue {
    Fd fd;
    bool attached = true;
    bool full = false;  // a frame waits for the host; the others wait for that frame, here
    WaitList turn_to_send;
  };

  Tap() = default;
  Result<void> open_by_name(const NetConfig& config, u16 pairs, Log& log);
  Result<void> take(const std::vector<int>& fds);
  Result<void> prepare();
  static Task<i32> send_when_ready(Io& io, int fd, std::span<const iovec> frame);
  void look_at_interface(const NetConfig& config, Log& log);
  int first_fd() const { return queues_.front().fd.get(); }

  std::string name_;  // of the interface
  std::deque<Queue> queues_;
  u64 offloads_ = 0;
  u32 longest_frame_ = 0;
  std::optional<MacAddress> only_mac_;
  Fd link_events_;  // none if the interface is in another network namespace
  bool link_up_ = true;
};

}  // namespace uvmm
