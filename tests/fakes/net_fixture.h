// SPDX-License-Identifier: Apache-2.0
// NetFixture: a network device between a driver, whose queues all run, and a fake end. Frames of the tests
// are bytes behind a header of zeros.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "devices/net.h"
#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"
#include "tests/fakes/fake_net_end.h"

namespace uvmm {

struct NetFixture {
  static constexpr u64 kHeaderBytes = sizeof(virtio_net_hdr_v1);
  static constexpr u64 kBasic = FakeDriver::kAllFeatures | feature(VIRTIO_NET_F_MRG_RXBUF);
  static constexpr MacAddress kMac = {0x52, 0x54, 0, 1, 2, 3};

  // Queue i is queues[i]; the control queue is the last one.
  explicit NetFixture(u64 features = kBasic, u16 pairs = 1, u16 queue_size = 32)
      : end(FakeNetEnd::kAllOffloads, pairs),
        net(io, end, {.name = "net t", .mac = kMac, .mtu = 1400}, log),
        count(static_cast<u16>(2 * pairs + 1)) {
    for (u16 i = 0; i < count; ++i) {
      drivers.push_back(std::make_unique<FakeDriver>(ram, queue_size, features));
      queues.push_back(std::make_unique<FakeQueue>(net.io(), *drivers.back()));
    }
    net.start(features);
    for (u16 i = 0; i < count; ++i) tasks.spawn(net.run(queue(i), i));
  }
  ~NetFixture() {
    stop();
    CHECK(tasks.empty());
    net.reset();
    io.end_turn();
  }

  void stop() {
    for (const auto& each : queues) each->queue.stop();
    net.io().cancel_all();
    for (int turns = 0; !io.empty() && turns < 1000; ++turns) io.finish_all(-ECANCELED);
    net.io().reopen();
  }

  Queue& queue(u16 i) { return queues[i]->queue; }
  FakeDriver& receiver(u16 pair = 0) { return *drivers[2 * pair]; }
  FakeDriver& transmitter(u16 pair = 0) { return *drivers[2 * pair + 1]; }
  FakeDriver& controller() { return *drivers[count - 1]; }
  void kick(u16 i) {
    queue(i).notify();
    io.end_turn();
  }

  static std::vector<u8> frame(u64 bytes, u8 fill = 'f') {
    std::vector<u8> whole(kHeaderBytes, 0);
    for (u64 i = 0; i < bytes; ++i) whole.push_back(static_cast<u8>(fill + i % 7));
    return whole;
  }

  static std::vector<u8> content(const std::vector<u8>& whole, u64 from = 0) {
    return {whole.begin() + static_cast<i64>(kHeaderBytes + from), whole.end()};
  }

  // A buffer for frames; where it is.
  GuestAddress post(u32 bytes, u16 pair = 0) {
    const auto at = receiver(pair).chain().writes(bytes).offer();
    kick(static_cast<u16>(2 * pair));
    return at[0];
  }
  // A frame reaches the host, which says so.
  void arrive(std::vector<u8> whole, u16 pair = 0) {
    end.arriving[pair].push_back(std::move(whole));
    for (u32 i = 0; i < io.size(); ++i)
      if (io.pending(i).kind == Op::Kind::kPoll && io.pending(i).fd == pair) return io.finish(i, POLLIN);
  }
  bool waits_for_frames(u16 pair = 0) {
    for (u32 i = 0; i < io.size(); ++i)
      if (io.pending(i).kind == Op::Kind::kPoll && io.pending(i).fd == pair) return true;
    return false;
  }
  u16 num_buffers(GuestAddress at) { return *receiver().memory.read<le16>(at + 10); }

  void send(std::span<const u8> whole) {
    transmitter().chain().reads(whole).offer();
    kick(1);
  }

  // A command of class, number and data; the answer.
  u8 command(u8 device_class, u8 number, std::span<const u8> data) {
    const auto at = controller().chain().reads(device_class).reads(number).reads(data).writes(1).offer();
    kick(static_cast<u16>(count - 1));
    answered = controller().take_used();
    return *controller().memory.read<u8>(at.back());
  }
  template <typename T>
    requires(!std::is_convertible_v<T, std::span<const u8>>)
  u8 command(u8 device_class, u8 number, const T& data) {
    return command(device_class, number, std::span(reinterpret_cast<const u8*>(&data), sizeof data));
  }

  virtio_net_config config() const {
    virtio_net_config config{};
    std::memcpy(&config, net.config().data(), net.config().size());
    return config;
  }

  std::vector<std::string> lines;
  Log log{[this](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning};
  FakeIo io;
  FakeRam ram;
  FakeNetEnd end;
  Net net;
  const u16 count;
  std::vector<std::unique_ptr<FakeDriver>> drivers;
  std::vector<std::unique_ptr<FakeQueue>> queues;
  TaskScope tasks;
  std::optional<vring_used_elem> answered;  // the last command
};

}  // namespace uvmm
