// SPDX-License-Identifier: Apache-2.0
// FakeDevice: a virtio device with two queues that keeps each request until the test releases it or one host
// operation of its own ends. FakeMsiRouter: remembers what it was told. FakeDoorbells: likewise.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/virtio/spec.h"
#include "vmm/base/doorbell_maker.h"
#include "vmm/base/msi_router.h"

namespace uvmm {

struct FakeConfig {
  le64 capacity = 0x1122'3344'5566'7788;
  le32 writable = 0;
};

class FakeDevice final : public VirtioDevice {
 public:
  using VirtioDevice::VirtioDevice;

  u16 device_id() const override { return VIRTIO_ID_BLOCK; }
  u64 features() const override { return feature(5) | feature(40); }
  std::span<const u16> queue_sizes() const override { return sizes; }
  std::span<const u8> config() const override { return {reinterpret_cast<const u8*>(&shown), 12}; }
  void write_config(u32 offset, std::span<const u8> bytes) override {
    if (offset == 8 && bytes.size() == 4) std::ranges::copy(bytes, reinterpret_cast<u8*>(&shown) + offset);
  }
  void start(u64 features) override {
    ++starts;
    started_features = features;
  }
  void reset() override {
    ++resets;
    kept.clear();
  }
  Task<> run(Queue& queue, u16 index) override {
    ++running;
    for (;;) {
      std::optional<DescriptorChain> chain = co_await queue.next();
      if (!chain) break;
      ++served[index];
      if (wait_for_host) requests[index].spawn(serve(std::move(*chain)));
      if (keep) kept.push_back(std::move(*chain));
    }
    co_await requests[index].drained();
    --running;
  }
  Task<> serve(DescriptorChain chain) {
    const i32 done = co_await io_.fdatasync(99);
    chain.written = done == 0 ? 1 : 0;
  }
  void change(u64 capacity) {
    shown.capacity = capacity;
    config_changed();
  }

  std::array<u16, 2> sizes{8, 4};
  FakeConfig shown;
  u64 started_features = 0;
  u32 starts = 0;
  u32 resets = 0;
  u32 running = 0;
  std::array<u32, 2> served{};
  bool wait_for_host = false;
  bool keep = false;
  std::vector<DescriptorChain> kept;
  std::array<TaskScope, 2> requests;
};

// Neither opens anything.
struct FakeMsiRouter final : MsiRouter {
  static constexpr int kFirstLine = 100;  // the lines' eventfds are 100, 101, ...

  Result<InterruptLine> add_line() override {
    if (refuses) return fail(ErrorKind::kHost, "no more lines");
    return InterruptLine{lines, kFirstLine + static_cast<int>(lines++)};
  }
  void route(u32 gsi, const MsiMessage& message) override {
    routes[gsi] = message;
    ++routed;
  }
  bool commit() override {
    ++commits;
    return true;
  }

  std::map<u32, MsiMessage> routes;
  u32 lines = 0;
  u32 routed = 0;
  u32 commits = 0;
  bool refuses = false;
};

struct FakeDoorbells final : DoorbellMaker {
  static constexpr int kFirst = 200;  // the eventfds of a device's queues are 200, 201, ...

  Result<int> add_doorbell(GuestAddress where) override {
    if (refuses) return fail(ErrorKind::kHost, "no more doorbells");
    added.push_back(where);
    return kFirst + static_cast<int>(address(where) % kPageSize / 4);
  }

  std::vector<GuestAddress> added;
  bool refuses = false;
};

}  // namespace uvmm
