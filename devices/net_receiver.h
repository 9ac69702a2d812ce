// SPDX-License-Identifier: Apache-2.0
// NetReceiver: the receive queue of one pair (virtio 1.2, 5.1.6.3 and 5.1.6.4). I/O thread only; lives in the
// Net.
//
// A frame is read straight into buffers that the driver has posted. Enough of them for the longest frame are
// held ready, those that a frame leaves over are there for the next. What a frame has beyond them goes to a
// buffer of our own first: with VIRTIO_NET_F_MRG_RXBUF it waits there for more of the driver's buffers,
// without, the frame is dropped.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/net_end.h"
#include "devices/net_header.h"
#include "devices/virtio/queue.h"
#include "vmm/base/log.h"

namespace uvmm {

class NetReceiver {
 public:
  static constexpr u32 kFramesPerTurn = 64;
  static constexpr u64 kBytesPerTurn = 512_KiB;

  NetReceiver(Io& io, NetEnd& end, u16 pair, const std::string& name, Counter& lost, Log& log);
  NetReceiver(const NetReceiver&) = delete;
  NetReceiver& operator=(const NetReceiver&) = delete;

  // A driver has started.
  void start(u64 features, Queue& queue);
  // Receives until the queue stops or breaks, or the pair is switched off.
  Task<> run();
  // Whether it has a queue, is switched on, and does not run.
  bool can_run() const { return queue_ && switched_on_ && !running_; }
  void switch_on(bool on) { switched_on_ = on; }
  bool switched_on() const { return switched_on_; }
  // Without it, frames that come are thrown away.
  void plug_in(bool plugged_in) { plugged_in_ = plugged_in; }
  // The driver may now be given other frames than before.
  void set_offloads(u64 features);
  // Throws away what the host has ready: it is for the driver that was there before.
  void discard_old_frames();
  void reset();

 private:
  bool wants_more() const;
  bool keep(DescriptorChain chain);
  void gather();
  void list_buffers();
  void expect(u64 bytes);
  Task<> wait_for_frames();
  Task<> pause(i32 error);
  Task<bool> get_another();
  bool has_room(u64 bytes) const {
    return (merge_ ? held_bytes_ : buffers_[oldest()]->writable.size()) >= bytes;
  }
  Task<bool> wait_for_room(u64 bytes);
  void give(u64 bytes);
  void copy_overflow(Segments buffers, u64 position, u64 bytes);
  void write_count(u32 chains);

  std::optional<DescriptorChain>& buffer(u32 i) { return buffers_[(oldest_ + i) & (buffers_.size() - 1)]; }
  u64 oldest() const { return oldest_ & (buffers_.size() - 1); }

  Io& io_;
  NetEnd& end_;
  const u16 pair_;
  const std::string& name_;
  Counter& lost_;  // frames
  Log& log_;

  Queue* queue_ = nullptr;
  bool merge_ = false;
  bool switched_on_ = false;
  bool running_ = false;
  bool plugged_in_ = true;
  u64 wanted_bytes_ = 0;    // that buffers are held ready for
  u64 expected_bytes_ = 0;  // of the next frame, about: the longest of late

  // The driver's buffers, oldest first: a ring of as many as its queue can have out.
  std::vector<std::optional<DescriptorChain>> buffers_;
  u32 oldest_ = 0;
  u32 held_ = 0;
  u64 held_bytes_ = 0;

  std::vector<iovec> list_;  // where the next frame goes
  u64 listed_bytes_ = 0;     // of it, in the driver's buffers
  std::unique_ptr<u8[]> overflow_;

  u32 frames_in_turn_ = 0;
  u64 bytes_in_turn_ = 0;
  u64 pause_ = 0;  // nanoseconds; 0: the host gave no error lately
};

}  // namespace uvmm
