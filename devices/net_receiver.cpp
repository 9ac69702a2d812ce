// SPDX-License-Identifier: Apache-2.0
#include "devices/net_receiver.h"

#include <algorithm>
#include <cassert>
#include <cstddef>

namespace uvmm {
namespace {

constexpr u64 kHeaderBytes = sizeof(virtio_net_hdr_v1);
constexpr u64 kLongestWithHeader = kHeaderBytes + kLongestFrame;
constexpr u64 kOverflowBytes = kLongestWithHeader + 1;  // by which a frame that was cut off is known
constexpr u64 kMostPieces = 1024;                       // of one readv: IOV_MAX
constexpr u64 kFirstPause = 10'000'000;                 // nanoseconds
constexpr u64 kLongestPause = 500'000'000;
constexpr u32 kMostOldFrames = 4096;

}  // namespace

NetReceiver::NetReceiver(Io& io, NetEnd& end, u16 pair, const std::string& name, Counter& lost, Log& log)
    : io_(io),
      end_(end),
      pair_(pair),
      name_(name),
      lost_(lost),
      log_(log),
      overflow_(std::make_unique_for_overwrite<u8[]>(kOverflowBytes)) {
  list_.reserve(kMostPieces);
}

void NetReceiver::start(u64 features, Queue& queue) {
  queue_ = &queue;
  merge_ = has_feature(features, VIRTIO_NET_F_MRG_RXBUF);
  buffers_ = std::vector<std::optional<DescriptorChain>>(queue.size());
  set_offloads(features);
}

void NetReceiver::set_offloads(u64 features) {
  const bool large = features & kNetGuestLargeFrames;
  wanted_bytes_ = kHeaderBytes + (large ? kLongestFrame : std::min(end_.longest_frame(), kLongestFrame));
  expected_bytes_ = wanted_bytes_;
}

// Short frames are spared the buffers that only a long one takes. The first long one after them is in part
// copied.
void NetReceiver::expect(u64 bytes) {
  expected_bytes_ =
      std::clamp(expected_bytes_ - expected_bytes_ / 64, std::min(bytes, wanted_bytes_), wanted_bytes_);
}

void NetReceiver::discard_old_frames() {
  const iovec whole{overflow_.get(), kOverflowBytes};
  for (u32 i = 0; i < kMostOldFrames && end_.receive(io_, pair_, {&whole, 1}) >= 0; ++i) continue;
}

void NetReceiver::reset() {
  assert(!running_);
  buffers_.clear();
  queue_ = nullptr;
  oldest_ = held_ = 0;
  held_bytes_ = 0;
  switched_on_ = false;
  pause_ = 0;
}

Task<> NetReceiver::run() {
  running_ = true;
  while (switched_on_ && !queue_->stopped()) {
    if (held_ == 0) {
      const bool another = co_await get_another();
      if (!another) break;
      continue;
    }
    if (frames_in_turn_ >= kFramesPerTurn || bytes_in_turn_ >= kBytesPerTurn) {
      frames_in_turn_ = 0;
      bytes_in_turn_ = 0;
      co_await io_.yield();
      continue;
    }
    gather();
    list_buffers();
    const i32 received = end_.receive(io_, pair_, list_);
    if (received == -EAGAIN) {
      co_await wait_for_frames();
    } else if (received < 0) {
      co_await pause(received);
    } else {
      pause_ = 0;
      ++frames_in_turn_;
      bytes_in_turn_ += static_cast<u64>(received);
      const u64 bytes = static_cast<u64>(received);
      expect(bytes);
      bool room = has_room(bytes);
      if (!room) {
        const bool found = co_await wait_for_room(bytes);
        room = found;
      }
      if (room && plugged_in_) give(bytes);
    }
  }
  running_ = false;
}

Task<> NetReceiver::wait_for_frames() {
  const i32 ready = co_await end_.readable(io_, pair_);
  frames_in_turn_ = 0;
  bytes_in_turn_ = 0;
  if (ready < 0) co_await pause(ready);
}

// The host gives an error, and may do so for as long as it likes (a tap that was deleted does): look again
// after a while, which is longer each time.
Task<> NetReceiver::pause(i32 error) {
  if (error == -ECANCELED || queue_->stopped()) co_return;
  if (pause_ == 0) log_.warning("{}: cannot receive: {}", name_, error_text(-error));
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
  const u64 nanoseconds = pause_;
  co_await io_.sleep(nanoseconds);
}

// Waits for another buffer of the driver; false if none will come.
Task<bool> NetReceiver::get_another() {
  std::optional<DescriptorChain> chain = co_await queue_->next();
  if (!chain) co_return false;
  const bool kept = keep(std::move(*chain));
  co_return kept;
}

bool NetReceiver::keep(DescriptorChain chain) {
  // virtio 1.2, 5.1.6.3.1: a buffer has room for the header at least, and the device only writes to it.
  if (!chain.readable.empty() || chain.writable.has_hole() || chain.writable.size() < kHeaderBytes) {
    log_.guest("{}: a receive buffer that cannot be written to, or is too small", name_);
    queue_->mark_broken();
    return false;
  }
  assert(held_ < buffers_.size());
  held_bytes_ += chain.writable.size();
  buffer(held_++).emplace(std::move(chain));
  return true;
}

bool NetReceiver::wants_more() const {
  return merge_ ? held_bytes_ < wanted_bytes_ : held_ == 0;
}

void NetReceiver::gather() {
  while (wants_more()) {
    std::optional<DescriptorChain> chain = queue_->try_next();
    if (!chain || !keep(std::move(*chain))) return;
  }
}

// The driver's buffers, as many pieces as one call takes, and ours behind them.
void NetReceiver::list_buffers() {
  list_.clear();
  listed_bytes_ = 0;
  const u32 usable = merge_ ? held_ : 1;
  for (u32 i = 0; i < usable && listed_bytes_ < expected_bytes_; ++i) {
    for (const iovec& piece : buffer(i)->writable.iovecs()) {
      if (list_.size() + 1 == kMostPieces) break;
      list_.push_back(piece);
      listed_bytes_ += piece.iov_len;
    }
    if (list_.size() + 1 == kMostPieces) break;
  }
  list_.push_back({overflow_.get(), kOverflowBytes});
}

// False if the driver's buffers cannot hold a frame of that many bytes: it is lost.
Task<bool> NetReceiver::wait_for_room(u64 bytes) {
  while (!has_room(bytes)) {
    if (!merge_ || bytes > kLongestWithHeader || queue_->chains_out() == queue_->size()) {
      lost_.add();
      log_.guest("{}: a frame of {} bytes, for which the driver's buffers are too small, was dropped", name_,
                 bytes);
      co_return false;
    }
    const bool another = co_await get_another();
    if (!another) co_return false;
  }
  co_return true;
}

// A frame of that many bytes, header included, lies in the listed buffers: gives those that it takes up back
// to the driver.
void NetReceiver::give(u64 bytes) {
  u32 chains = 0;
  for (u64 position = 0; position < bytes; ++chains) {
    DescriptorChain& chain = *buffer(chains);
    const u64 part = std::min(chain.writable.size(), bytes - position);
    if (position + part > listed_bytes_) copy_overflow(chain.writable, position, part);
    chain.written = static_cast<u32>(part);
    position += part;
  }
  write_count(chains);
  for (u32 i = 0; i < chains; ++i) {
    held_bytes_ -= buffer(i)->writable.size();
    buffer(i).reset();
  }
  oldest_ += chains;
  held_ -= chains;
}

// `buffers` begin at `position` of the frame, of which they have `bytes`; what of these was not listed is
// in our own buffer.
void NetReceiver::copy_overflow(Segments buffers, u64 position, u64 bytes) {
  const u64 in_place = listed_bytes_ > position ? listed_bytes_ - position : 0;
  buffers.drop_front(in_place);
  buffers.copy_in({overflow_.get() + (position + in_place - listed_bytes_), bytes - in_place});
}

// virtio 1.2, 5.1.6.4.1: how many buffers the frame has; 1 where they are not merged.
void NetReceiver::write_count(u32 chains) {
  const le16 count = static_cast<le16>(chains);
  Segments header = buffer(0)->writable;
  header.drop_front(offsetof(virtio_net_hdr_v1, num_buffers));
  header.copy_in({reinterpret_cast<const u8*>(&count), sizeof count});
}

}  // namespace uvmm
