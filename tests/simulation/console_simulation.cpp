// SPDX-License-Identifier: Apache-2.0
// The model of a terminal: what the guest transmits comes out in order, less what the host had no room for;
// what is typed comes in, in order and all of it, whatever the driver does meanwhile.
#include <linux/virtio_console.h>
#include <cerrno>

#include <catch2/catch.hpp>
#include <deque>
#include <set>
#include <string>

#include "devices/console.h"
#include "tests/simulation/simulation.h"

namespace uvmm {
namespace {

constexpr int kInput = 1000;
constexpr int kOutput = 1001;
constexpr u64 kMostWaiting = ConsoleEnd::kOutputBytes / 2;  // of output: nothing is dropped for want of room

class ConsoleSimulation final : public Simulation {
 public:
  ConsoleSimulation(u64 seed, FakeRam& memory) : Simulation(seed, memory) { end_->start(); }

 private:
  FakeCard& card() override { return card_; }

  // --- the driver

  bool offer(SimulatedQueue& queue) override {
    if (random.one_in(16)) resize();
    return queue.index == Console::kReceiveQueue ? offer_buffer(queue) : offer_output(queue);
  }

  bool offer_buffer(SimulatedQueue& queue) {
    Parts request = parts(queue);
    const u64 bytes = random.between(1, random.one_in(8) ? 5000 : 40);
    scatter_writable(request, bytes);
    const std::vector<Buffer> buffers = request.writable;
    const auto check = [this, bytes, buffers](const vring_used_elem& used) {
      require(used.len > 0 && used.len <= bytes);
      const std::vector<u8> content = read(buffers, used.len);
      receive({content.begin(), content.end()});
    };
    place(queue, request, check).waits = true;
    return true;
  }

  bool offer_output(SimulatedQueue& queue) {
    std::string text(1, static_cast<char>(++segments_));  // tells it from those around it
    for (u64 bytes = random.below(random.one_in(8) ? 4000 : 60); bytes > 0; --bytes)
      text += static_cast<char>(random.next());
    if (waiting_ + text.size() > kMostWaiting) return false;
    waiting_ += text.size();
    Parts request = parts(queue);
    scatter_readable(request, std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
    place(queue, request, [this, number = segments_](const vring_used_elem& used) {
      require(used.len == 0);
      for (Segment& segment : transmitted_) {
        if (segment.number == number) segment.certain = true;
      }
    });
    transmitted_.push_back({.text = std::move(text), .number = segments_});
    return true;
  }

  void offer_odd(SimulatedQueue& queue) override {
    Parts request = parts(queue);
    if (queue.index == Console::kReceiveQueue) {
      random.one_in(2) ? add_readable(request, random.bytes(9))
                       : void(request.chain.writes_at(hole_address(), 100));
    } else if (random.one_in(4)) {
      add_writable(request, 9);
      queue.must_break = true;
    } else {
      request.chain.reads_at(hole_address(), 100);
    }
    place(queue, request, [](const vring_used_elem& used) { require(used.len == 0); });
  }

  void resize() {
    const auto columns = static_cast<u16>(random.next()), rows = static_cast<u16>(random.next());
    const u8 generation = card_.read<u8>(VIRTIO_PCI_COMMON_CFGGENERATION);
    console_.resize(columns, rows);
    require(card_.read<u16>(0x3000) == columns && card_.read<u16>(0x3002) == rows);
    require(card_.read<u8>(VIRTIO_PCI_COMMON_CFGGENERATION) != generation);
  }

  // --- the host

  void end_operation(u32 i, bool well) override {
    const bool fails = !well && random.one_in(10);
    switch (io.pending(i).kind) {
      case Op::Kind::kRead:
        return type(i, fails);
      case Op::Kind::kWrite:
        return take_output(i, fails);
      case Op::Kind::kPoll:
        return io.complete(i, io.pending(i).fd == kInput ? POLLIN : POLLOUT);
      case Op::Kind::kTimeout:
        return io.complete(i, -ETIME);
      default:
        require(io.pending(i).kind == Op::Kind::kNop);
        return io.complete(i, 0);
    }
  }

  bool outlives_reset(const Op& op) const override {
    return op.kind == Op::Kind::kTimeout || op.fd == kInput || op.fd == kOutput;
  }

  void type(u32 i, bool fails) {
    if (fails)
      return io.complete(i, random.one_in(8) ? random.pick({0, -EIO}) : random.pick({-EAGAIN, -EINTR}));
    const std::vector<u8> bytes =
        random.bytes(random.between(1, random.one_in(4) ? ConsoleEnd::kInputBytes : 30));
    typed_.append(bytes.begin(), bytes.end());
    io.fill(i, bytes);
    io.complete(i, static_cast<i32>(bytes.size()));
  }

  // Some of what was typed, as the driver received it. Where several places fit, all are kept in mind.
  void receive(const std::string& text) {
    std::set<u64> after;
    for (const u64 at : received_) {
      if (typed_.compare(at, text.size(), text) == 0) after.insert(at + text.size());
    }
    require(!after.empty());
    received_ = std::move(after);
  }

  void take_output(u32 i, bool fails) {
    const std::vector<u8> bytes = io.bytes_of(i);
    match({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    i32 result = static_cast<i32>(random.one_in(2) ? bytes.size() : random.between(1, bytes.size()));
    if (fails) result = random.one_in(16) ? -EPIPE : random.pick({-EAGAIN, -EINTR, -ENOSPC, -ENOMEM});
    if (result > 0) sent(static_cast<u64>(result));
    if (result == -ENOSPC || result == -ENOMEM) sent(bytes.size());  // this piece is dropped
    if (result == -EPIPE) transmitted_.clear();                      // and all that follows
    io.complete(i, result);
  }

  // `text` is what the guest transmitted next. Of what it had in the ring at a reset, some may not be there.
  void match(std::string_view text) {
    u64 offset = sent_;
    for (auto segment = transmitted_.begin(); !text.empty(); offset = 0) {
      require(segment != transmitted_.end());
      const std::string_view rest = std::string_view(segment->text).substr(offset);
      const u64 common = std::min(rest.size(), text.size());
      if (rest.substr(0, common) == text.substr(0, common)) {
        text.remove_prefix(common);
        ++segment;
      } else {
        require(segment->maybe && offset == 0);
        waiting_ -= segment->text.size();
        segment = transmitted_.erase(segment);
      }
    }
  }
  void sent(u64 bytes) {
    waiting_ -= bytes;
    sent_ += bytes;
    while (!transmitted_.empty() && sent_ >= transmitted_.front().text.size()) {
      sent_ -= transmitted_.front().text.size();
      transmitted_.pop_front();
    }
  }

  void was_reset() override {
    for (Segment& segment : transmitted_) segment.maybe |= !segment.certain;
    // What was put into buffers of a broken ring is lost.
    for (u64 at = *received_.begin(); at <= typed_.size(); ++at) received_.insert(at);
  }

  void finish() override {
    end_->close();
    require(io.drain([this] { end_operation(0, true); }));
    require(end_->closed());
  }

  struct Segment {
    std::string text;
    u64 number;
    bool certain = false;  // the device has said that it took it
    bool maybe = false;
  };

  Log log_;
  std::unique_ptr<ConsoleEnd> end_ = std::move(*ConsoleEnd::open(
      io, {.kind = ConsoleConfig::Kind::kStreams, .input_fd = kInput, .output_fd = kOutput}, log_));
  Console console_{io, *end_, log_};
  FakeCard card_{io, console_, ram.memory()};

  std::deque<Segment> transmitted_;
  u64 segments_ = 0;
  u64 sent_ = 0;     // of the first of them
  u64 waiting_ = 0;  // bytes of all, less those
  std::string typed_;
  std::set<u64> received_ = {0};  // up to where it may be
};

}  // namespace

TEST_CASE("simulation: console") {
  simulate<ConsoleSimulation>("console", 2000);
}

}  // namespace uvmm
