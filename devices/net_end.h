// SPDX-License-Identifier: Apache-2.0
// NetEnd: the host's end of a network device, to which it gives the guest's frames and from which it takes
// those for the guest. I/O thread only. Outlives the device and every reset of it.
//
// A frame on this interface is a virtio_net_hdr_v1 (12 bytes; virtio 1.2, 5.1.6) and the Ethernet frame
// behind it, in any number of buffers. What is asked of the host while a frame goes or comes is asked through
// the Io that is passed along, the device's own, so that a reset can cancel it: the call then ends with
// -ECANCELED, and the end is ready for the next one.
#pragma once

#include <sys/uio.h>

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "vmm/base/io.h"
#include "vmm/base/result.h"
#include "vmm/base/task.h"
#include "vmm/base/types.h"

namespace uvmm {

using MacAddress = std::array<u8, 6>;

// Told when link_up() has changed.
class NetLinkListener {
 public:
  virtual void link_changed() = 0;

 protected:
  ~NetLinkListener() = default;
};

class NetEnd {
 public:
  static constexpr u64 kHeaderBytes = 12;

  NetEnd() = default;
  NetEnd(const NetEnd&) = delete;
  NetEnd& operator=(const NetEnd&) = delete;
  virtual ~NetEnd() = default;

  // What it can do, as VIRTIO_NET_F_ bits: CSUM and HOST_* for the frames that it is given, GUEST_* for those
  // that it gives. Without any, headers are all zeros in both directions. Constant.
  virtual u64 offloads() const = 0;
  // How many queue pairs it can serve. Constant.
  virtual u16 pairs() const = 0;
  // The longest frame that it gives while no GUEST_TSO or GUEST_USO is on, without the header. A hint, by
  // which buffers are chosen.
  virtual u32 longest_frame() const = 0;
  // The host's interface, if it has a name.
  virtual std::string_view interface() const { return {}; }
  // The one address to which it gets frames, if there is only one. Constant.
  virtual std::optional<MacAddress> only_mac() const { return std::nullopt; }

  // From now on at most these of offloads() are on, and these pairs, from 0 on, are in use. Called when a
  // driver starts, and when it changes its mind while frames are on their way.
  virtual Result<void> set_offloads(u64 features) = 0;
  virtual Result<void> set_pairs(u16 pairs) = 0;

  // Sends one frame, whose first buffer is the header, whole. 0 or more, or a negative errno value: the frame
  // is lost. Waits while the host takes no more. It may be called again before earlier calls have ended; the
  // frames of a pair go out in the order of the calls, but that one may be overtaken by those that the host
  // was given along with it when it turned it away. The buffers stay as they are until it ends.
  virtual Task<i32> send(Io& io, u16 pair, std::span<const iovec> frame) = 0;

  // Takes the next frame if one is there: puts header and frame into `buffers`, cut off where they end.
  // Returns how many bytes that was, -EAGAIN if there is none, or another negative errno value. A header's
  // num_buffers means nothing.
  virtual i32 receive(Io& io, u16 pair, std::span<const iovec> buffers) = 0;
  // Waits until receive() is worth another try. 0 or more, or a negative errno value.
  virtual Task<i32> readable(Io& io, u16 pair) = 0;

  virtual bool link_up() const { return true; }
  // Runs while a driver does, for ends that learn of their link in no other way; ends when `io` is cancelled.
  virtual Task<> watch_link(Io&) { co_return; }
  void set_link_listener(NetLinkListener* listener) { link_listener_ = listener; }

 protected:
  void link_changed() {
    if (link_listener_) link_listener_->link_changed();
  }

 private:
  NetLinkListener* link_listener_ = nullptr;
};

}  // namespace uvmm
