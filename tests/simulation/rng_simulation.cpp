// SPDX-License-Identifier: Apache-2.0
// The model of entropy: what the host's source gave is what the driver gets, in order and all of it.
#include <cerrno>

#include <catch2/catch.hpp>

#include "devices/rng.h"
#include "tests/simulation/simulation.h"

namespace uvmm {
namespace {

class RngSimulation final : public Simulation {
 public:
  RngSimulation(u64 seed, FakeRam& memory) : Simulation(seed, memory) { current = this; }

 private:
  FakeCard& card() override { return card_; }

  bool offer(SimulatedQueue& queue) override {
    Parts request = parts(queue);
    const u64 bytes = random.one_in(8) ? random.below(Rng::kMaxRequestBytes + 2000) : random.below(300);
    scatter_writable(request, bytes);
    const std::vector<Buffer> buffers = request.writable;
    place(queue, request, [this, bytes, buffers](const vring_used_elem& used) {
      require(used.len == std::min(bytes, Rng::kMaxRequestBytes));
      const std::vector<u8> content = read(buffers, used.len);
      require(given_.size() - taken_ >= content.size());
      require(std::equal(content.begin(), content.end(), given_.begin() + static_cast<i64>(taken_)));
      taken_ += content.size();
    });
    return true;
  }

  void offer_odd(SimulatedQueue& queue) override {
    Parts request = parts(queue);
    add_readable(request, random.bytes(random.below(20)));
    if (random.one_in(2)) request.chain.writes_at(hole_address(), 100);
    place(queue, request, [](const vring_used_elem& used) { require(used.len == 0); });
  }

  void end_operation(u32 i, bool) override {
    const Op::Kind kind = io.pending(i).kind;
    require(kind == Op::Kind::kNop || kind == Op::Kind::kTimeout);
    io.complete(i, kind == Op::Kind::kNop ? 0 : -ETIME);
  }

  void was_reset() override { taken_ = given_.size(); }

  // As getrandom(2) may do.
  static ssize_t give(void* buffer, std::size_t bytes, unsigned) {
    RngSimulation& self = *current;
    if (self.random.one_in(8)) {
      errno = EAGAIN;
      return -1;
    }
    const std::vector<u8> made =
        self.random.bytes(self.random.one_in(4) ? self.random.between(1, bytes) : bytes);
    std::memcpy(buffer, made.data(), made.size());
    self.given_.insert(self.given_.end(), made.begin(), made.end());
    return static_cast<ssize_t>(made.size());
  }

  static inline RngSimulation* current = nullptr;
  Rng rng_{io, give};
  FakeCard card_{io, rng_, ram.memory()};
  std::vector<u8> given_;
  u64 taken_ = 0;
};

}  // namespace

TEST_CASE("simulation: rng") {
  simulate<RngSimulation>("rng", 1000);
}

}  // namespace uvmm
