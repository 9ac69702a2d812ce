// SPDX-License-Identifier: Apache-2.0
// The model of a network: each frame that the driver sends reaches the host as it was, in order, or is lost
// to an error of the host's; what the driver receives are whole frames of the host's, in order, in as many
// buffers as they say.
#include <cerrno>
#include <cstring>

#include <catch2/catch.hpp>
#include <deque>
#include <vector>

#include "devices/net.h"
#include "tests/fakes/fake_net_end.h"
#include "tests/simulation/simulation.h"

namespace uvmm {
namespace {

constexpr u64 kHeaderBytes = sizeof(virtio_net_hdr_v1);
constexpr u64 kShortest = kHeaderBytes + kShortestFrame;
constexpr u16 kReceiveQueue = 0;
constexpr u16 kTransmitQueue = 1;

class NetSimulation final : public Simulation {
 public:
  NetSimulation(u64 seed, FakeRam& memory) : Simulation(seed, memory) {}

 private:
  using Frame = std::vector<u8>;

  FakeCard& card() override { return card_; }
  void started(u64 features) override { features_ = features; }

  // --- the driver

  bool offer(SimulatedQueue& queue) override {
    if (queue.index == kReceiveQueue) return offer_buffer(queue);
    return queue.index == kTransmitQueue ? offer_frame(queue) : offer_command(queue);
  }

  bool offer_buffer(SimulatedQueue& queue) {
    Parts request = parts(queue);
    scatter_writable(request, random.between(kShortest, random.one_in(4) ? 3000 : 200));
    const std::vector<Buffer> buffers = request.writable;
    place(queue, request, [this, buffers](const vring_used_elem& used) {
      take(read(buffers, used.len));
    }).waits = true;
    return true;
  }

  bool offer_frame(SimulatedQueue& queue) {
    Frame frame(kHeaderBytes, 0);
    const std::vector<u8> content =
        random.bytes(random.between(kShortestFrame, random.one_in(8) ? 5000 : 100));
    frame.insert(frame.end(), content.begin(), content.end());
    Parts request = parts(queue);
    scatter_readable(request, frame);
    place(queue, request, [](const vring_used_elem& used) { require(used.len == 0); });
    sent_.push_back(std::move(frame));
    return true;
  }

  bool offer_command(SimulatedQueue& queue) {
    Parts request = parts(queue);
    add_readable(request,
                 std::vector<u8>{static_cast<u8>(random.below(7)), static_cast<u8>(random.below(2))});
    add_readable(request, random.bytes(random.below(12)));
    const GuestAddress answer = add_writable(request, 1);
    place(queue, request, [this, answer](const vring_used_elem& used) {
      const bool served = has_feature(features_, VIRTIO_NET_F_CTRL_VQ);
      require(used.len == served);
      if (served) require(*ram.memory().read<u8>(answer) <= VIRTIO_NET_ERR);
    });
    return true;
  }

  void offer_odd(SimulatedQueue& queue) override {
    Parts request = parts(queue);
    const bool served = queue.index != 2 || has_feature(features_, VIRTIO_NET_F_CTRL_VQ);
    if (queue.index == kReceiveQueue) {
      random.one_in(2) ? add_readable(request, random.bytes(9))
                       : void(request.chain.writes_at(hole_address(), 100));
      queue.must_break = true;
    } else if (queue.index != kTransmitQueue) {
      add_readable(request, random.bytes(4));  // without a place for the answer
      queue.must_break = served;
    } else if (random.one_in(8)) {
      add_readable(request, Frame(kShortest, 0));
      add_writable(request, 9);
      queue.must_break = true;
    } else if (random.one_in(2)) {
      add_readable(request, Frame(random.below(kShortest), 0));
    } else {
      request.chain.reads_at(hole_address(), 100);
    }
    place(queue, request, [](const vring_used_elem& used) { require(used.len == 0); });
  }

  // --- the host

  void end_operation(u32 i, bool well) override {
    switch (io.pending(i).kind) {
      case Op::Kind::kWritev:
        return take_frame(i, !well && random.one_in(6));
      case Op::Kind::kPoll:
        return bring_frames(i, well);
      case Op::Kind::kTimeout:
        if (well) end_.errors[0] = 0;
        return io.complete(i, -ETIME);
      default:
        require(io.pending(i).kind == Op::Kind::kNop);
        return io.complete(i, 0);
    }
  }

  void take_frame(u32 i, bool fails) {
    const Frame frame = io.bytes_of(i);
    require(std::ranges::count(sent_, frame) > 0);
    io.complete(i, fails ? random.pick({-EIO, -ENOBUFS, -EINVAL, -EBADFD, -ENETDOWN})
                         : static_cast<i32>(frame.size()));
  }

  // What is posted takes the shortest frames: the host that does its best brings only those.
  void bring_frames(u32 i, bool well) {
    end_.errors[0] = !well && random.one_in(10) ? -EIO : 0;
    for (u64 frames = well ? 1 : random.below(4); frames > 0; --frames) {
      Frame frame(kHeaderBytes, 0);
      const u64 most = random.one_in(8) ? 9000 : 300;
      const std::vector<u8> content =
          random.bytes(well ? kShortestFrame : random.between(kShortestFrame, most));
      frame.insert(frame.end(), content.begin(), content.end());
      brought_.push_back(frame);
      end_.arriving[0].push_back(std::move(frame));
    }
    if (random.one_in(16)) end_.set_link(!end_.link);
    io.complete(i, !well && random.one_in(10) ? -EIO : POLLIN);
  }

  void check_operations() override {
    auto expected = sent_.begin();  // those on their way are in order
    for (u32 i = 0; i < io.size(); ++i) {
      if (io.pending(i).kind != Op::Kind::kWritev) continue;
      const Frame frame = io.bytes_of(i);
      expected = std::find(expected, sent_.end(), frame);
      require(expected++ != sent_.end());
    }
  }

  // One more buffer with a part of a frame.
  void take(const Frame& part) {
    if (part.empty()) return;
    partial_.insert(partial_.end(), part.begin(), part.end());
    require(partial_.size() >= kHeaderBytes);
    le16 count;
    std::memcpy(&count, partial_.data() + offsetof(virtio_net_hdr_v1, num_buffers), sizeof count);
    require(count >= 1 && (count == 1 || has_feature(features_, VIRTIO_NET_F_MRG_RXBUF)));
    if (++buffers_ < count) return;
    partial_[10] = partial_[11] = 0;
    while (!brought_.empty() && brought_.front() != partial_) brought_.pop_front();  // dropped ones
    require(!brought_.empty());
    brought_.pop_front();
    partial_.clear();
    buffers_ = 0;
  }

  void was_reset() override {
    sent_.clear();
    partial_.clear();
    buffers_ = 0;
    end_.errors[0] = 0;
  }

  Log log_;
  FakeNetEnd end_;
  Net net_{io, end_, {.name = "net", .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500}, log_};
  FakeCard card_{io, net_, ram.memory()};
  u64 features_ = 0;
  std::deque<Frame> sent_;
  std::deque<Frame> brought_;
  Frame partial_;
  u16 buffers_ = 0;
};

}  // namespace

TEST_CASE("simulation: net") {
  simulate<NetSimulation>("net", 500);
}

}  // namespace uvmm
