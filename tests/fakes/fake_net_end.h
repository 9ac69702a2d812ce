// SPDX-License-Identifier: Apache-2.0
// FakeNetEnd: the host's end of a network device. Frames for the guest are put in by the test; frames of the
// guest, and waits for more, are operations on the fake door, with the pair's number for a descriptor.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "devices/net_end.h"
#include "devices/net_header.h"

namespace uvmm {

class FakeNetEnd final : public NetEnd {
 public:
  static constexpr int kWatched = 1000;
  static constexpr u64 kAllOffloads = kNetHostOffloads | kNetGuestOffloads;

  explicit FakeNetEnd(u64 offloads = kAllOffloads, u16 pairs = 1)
      : supported(offloads), arriving(pairs), errors(pairs) {}

  u64 offloads() const override { return supported; }
  u16 pairs() const override { return static_cast<u16>(arriving.size()); }
  u32 longest_frame() const override { return longest; }
  Result<void> set_offloads(u64 features) override {
    offloads_set.push_back(features);
    return answer();
  }
  Result<void> set_pairs(u16 count) override {
    pairs_set.push_back(count);
    return answer();
  }
  Task<i32> send(Io& io, u16 pair, std::span<const iovec> frame) override {
    const i32 done = co_await io.writev(pair, frame, Op::kNoOffset);
    co_return done;
  }
  i32 receive(Io&, u16 pair, std::span<const iovec> buffers) override {
    ++receives;
    pieces = buffers.size();
    if (errors[pair] != 0) return errors[pair];
    if (arriving[pair].empty()) return -EAGAIN;
    const std::vector<u8> frame = std::move(arriving[pair].front());
    arriving[pair].pop_front();
    std::span<const u8> rest = frame;
    for (const iovec& buffer : buffers) {
      const u64 step = std::min(rest.size(), buffer.iov_len);
      if (step > 0) std::memcpy(buffer.iov_base, rest.data(), step);
      rest = rest.subspan(step);
    }
    return static_cast<i32>(frame.size() - rest.size());
  }
  Task<i32> readable(Io& io, u16 pair) override {
    const i32 ready = co_await io.poll(pair, POLLIN);
    co_return ready;
  }
  std::string_view interface() const override { return name; }
  std::optional<MacAddress> only_mac() const override { return only; }
  bool link_up() const override { return link; }
  Task<> watch_link(Io& io) override {
    if (!watches) co_return;
    const int fd = kWatched;
    const u32 events = POLLIN;
    co_await io.poll(fd, events);
  }

  void set_link(bool up) {
    link = up;
    link_changed();
  }

  u64 supported;
  u32 longest = 1522;
  std::vector<std::deque<std::vector<u8>>> arriving;  // by pair
  std::vector<i32> errors;                            // of receive()
  std::vector<u64> offloads_set;
  std::vector<u16> pairs_set;
  bool refuses = false;  // what is set
  bool link = true;
  bool watches = false;  // with an operation of the descriptor kWatched
  std::string name;      // of the host's interface
  std::optional<MacAddress> only;
  u64 receives = 0;
  std::size_t pieces = 0;  // of the last receive()

 private:
  Result<void> answer() const {
    if (refuses) return fail(ErrorKind::kHost, "no");
    return {};
  }
};

}  // namespace uvmm
