// SPDX-License-Identifier: Apache-2.0
// The model of a network with one or two queue pairs, which the driver switches on and off: each frame that
// the driver sends reaches the host as it was, in its pair's order, or is lost to an error of the host's;
// what the driver receives are whole frames of the host's, in their pair's order, in as many buffers as they
// say.
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <deque>
#include <vector>

#include "devices/net.h"
#include "tests/fakes/fake_net_end.h"
#include "tests/simulation/simulation.h"

namespace uvmm {
namespace {

constexpr u64 kHeaderBytes = sizeof(virtio_net_hdr_v1);
constexpr u64 kShortest = kHeaderBytes + kShortestFrame;

class NetSimulation final : public Simulation {
 public:
  NetSimulation(u64 seed, FakeRam& memory) : Simulation(seed, memory) {}

 private:
  using Frame = std::vector<u8>;
  enum class Role { kReceive, kTransmit, kControl, kNone };

  // virtio 1.2, 5.1.2.
  Role role(u16 queue) const {
    const bool several = has_feature(features_, VIRTIO_NET_F_MQ);
    const u16 pairs = several ? end_.pairs() : 1;
    if (queue < 2 * pairs) return queue % 2 == 0 ? Role::kReceive : Role::kTransmit;
    const bool controlled = has_feature(features_, VIRTIO_NET_F_CTRL_VQ);
    return controlled && queue == 2 * pairs ? Role::kControl : Role::kNone;
  }
  bool is_served(const SimulatedQueue& queue) const override {
    return queue.index == 0 || role(queue.index) == Role::kTransmit || role(queue.index) == Role::kControl;
  }

  FakeCard& card() override { return card_; }
  void started(u64 features) override { features_ = features; }

  // --- the driver

  bool offer(SimulatedQueue& queue) override {
    switch (role(queue.index)) {
      case Role::kReceive:
        return offer_buffer(queue);
      case Role::kTransmit:
        return offer_frame(queue);
      case Role::kControl:
        return random.one_in(2) ? offer_command(queue) : offer_pairs(queue);
      case Role::kNone:
        return offer_nothing(queue);
    }
    return false;
  }

  bool offer_buffer(SimulatedQueue& queue) {
    Parts request = parts(queue);
    scatter_writable(request, random.between(kShortest, random.one_in(4) ? 3000 : 200));
    const std::vector<Buffer> buffers = request.writable;
    Receiving& pair = receiving_[queue.index / 2];
    place(queue, request, [this, &pair, buffers](const vring_used_elem& used) {
      take(pair, read(buffers, used.len));
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
    sent_[queue.index / 2].push_back(std::move(frame));
    return true;
  }

  bool offer_command(SimulatedQueue& queue) {
    Parts request = parts(queue);
    add_readable(request,
                 std::vector<u8>{static_cast<u8>(random.below(7)), static_cast<u8>(random.below(2))});
    add_readable(request, random.bytes(random.below(12)));
    const GuestAddress answer = add_writable(request, 1);
    place(queue, request, [this, answer](const vring_used_elem& used) {
      require(used.len == 1);
      require(*ram.memory().read<u8>(answer) <= VIRTIO_NET_ERR);
    });
    return true;
  }

  bool offer_pairs(SimulatedQueue& queue) {
    Parts request = parts(queue);
    const le16 wanted = static_cast<le16>(random.below(4));
    add_readable(request, std::array<u8, 2>{VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET});
    add_readable(request, wanted);
    const GuestAddress answer = add_writable(request, 1);
    const bool fits = has_feature(features_, VIRTIO_NET_F_MQ) && wanted >= 1 && wanted <= end_.pairs();
    place(queue, request, [this, answer, fits](const vring_used_elem&) {
      require(*ram.memory().read<u8>(answer) == (fits ? VIRTIO_NET_OK : VIRTIO_NET_ERR));
    });
    return true;
  }

  bool offer_nothing(SimulatedQueue& queue) {
    Parts request = parts(queue);
    scatter_writable(request, random.below(100));
    place(queue, request, [](const vring_used_elem& used) { require(used.len == 0); });
    return true;
  }

  void offer_odd(SimulatedQueue& queue) override {
    Parts request = parts(queue);
    if (queue.index == 0) {
      random.one_in(2) ? add_readable(request, random.bytes(9))
                       : void(request.chain.writes_at(hole_address(), 100));
      queue.must_break = true;
    } else if (role(queue.index) == Role::kControl) {
      add_readable(request, random.bytes(4));  // without a place for the answer
      queue.must_break = true;
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
        if (well) std::ranges::fill(end_.errors, 0);
        return io.complete(i, -ETIME);
      default:
        require(io.pending(i).kind == Op::Kind::kNop);
        return io.complete(i, 0);
    }
  }

  void take_frame(u32 i, bool fails) {
    const Frame frame = io.bytes_of(i);
    require(std::ranges::count(sent_[0], frame) + std::ranges::count(sent_[1], frame) > 0);
    io.complete(i, fails ? random.pick({-EIO, -ENOBUFS, -EINVAL, -EBADFD, -ENETDOWN})
                         : static_cast<i32>(frame.size()));
  }

  // What is posted takes the shortest frames: the host that does its best brings only those.
  void bring_frames(u32 i, bool well) {
    const u64 pair = static_cast<u64>(io.pending(i).fd);
    end_.errors[pair] = !well && random.one_in(10) ? -EIO : 0;
    for (u64 frames = well ? 1 : random.below(4); frames > 0; --frames) {
      Frame frame(kHeaderBytes, 0);
      const u64 most = random.one_in(8) ? 9000 : 300;
      const std::vector<u8> content =
          random.bytes(well ? kShortestFrame : random.between(kShortestFrame, most));
      frame.insert(frame.end(), content.begin(), content.end());
      receiving_[pair].brought.push_back(frame);
      end_.arriving[pair].push_back(std::move(frame));
    }
    if (random.one_in(16)) end_.set_link(!end_.link);
    io.complete(i, !well && random.one_in(10) ? -EIO : POLLIN);
  }

  void check_operations() override {
    std::array expected = {sent_[0].begin(), sent_[1].begin()};  // those on their way are in order
    for (u32 i = 0; i < io.size(); ++i) {
      if (io.pending(i).kind != Op::Kind::kWritev) continue;
      const Frame frame = io.bytes_of(i);
      const u64 pair = std::ranges::count(sent_[1], frame) > 0;
      require(io.pending(i).fd == 0 || io.pending(i).fd == static_cast<int>(pair));
      expected[pair] = std::find(expected[pair], sent_[pair].end(), frame);
      require(expected[pair]++ != sent_[pair].end());
    }
  }

  struct Receiving {
    std::deque<Frame> brought;
    Frame partial;
    u16 buffers = 0;
  };

  // One more buffer with a part of a frame.
  void take(Receiving& pair, const Frame& part) {
    if (part.empty()) return;
    Frame& partial = pair.partial;
    partial.insert(partial.end(), part.begin(), part.end());
    require(partial.size() >= kHeaderBytes);
    le16 count;
    std::memcpy(&count, partial.data() + offsetof(virtio_net_hdr_v1, num_buffers), sizeof count);
    require(count >= 1 && (count == 1 || has_feature(features_, VIRTIO_NET_F_MRG_RXBUF)));
    if (++pair.buffers < count) return;
    partial[10] = partial[11] = 0;
    while (!pair.brought.empty() && pair.brought.front() != partial)
      pair.brought.pop_front();  // dropped ones
    require(!pair.brought.empty());
    pair.brought.pop_front();
    partial.clear();
    pair.buffers = 0;
  }

  void was_reset() override {
    for (auto& frames : sent_) frames.clear();
    for (Receiving& pair : receiving_) {
      pair.partial.clear();
      pair.buffers = 0;
    }
    std::ranges::fill(end_.errors, 0);
  }

  Log log_;
  FakeNetEnd end_{FakeNetEnd::kAllOffloads, static_cast<u16>(random.between(1, 2))};
  Net net_{io, end_, {.name = "net", .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500}, log_};
  FakeCard card_{io, net_, ram.memory()};
  u64 features_ = 0;
  std::array<std::deque<Frame>, 2> sent_;  // by pair
  std::array<Receiving, 2> receiving_;
};

}  // namespace

TEST_CASE("simulation: net") {
  simulate<NetSimulation>("net", 500);
}

}  // namespace uvmm
