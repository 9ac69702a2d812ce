// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/control.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/fakes/fake_device.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

constexpr u8 kAck = VIRTIO_CONFIG_S_ACKNOWLEDGE;
constexpr u8 kDriver = kAck | VIRTIO_CONFIG_S_DRIVER;
constexpr u8 kFeaturesOk = kDriver | VIRTIO_CONFIG_S_FEATURES_OK;
constexpr u8 kDriverOk = kFeaturesOk | VIRTIO_CONFIG_S_DRIVER_OK;
constexpr u8 kNeedsReset = VIRTIO_CONFIG_S_NEEDS_RESET;
constexpr int kFirstDoorbell = 70;
using RingPart = Control::RingPart;

struct FakeFace final : Control::Face {
  Interrupt& queue_interrupt(u16 index) override { return interrupts[index]; }
  Result<int> add_doorbell(u16 index) override {
    ++doorbells_asked_for;
    if (refuses_doorbells) return fail(ErrorKind::kHost, "no more descriptors");
    return kFirstDoorbell + index;
  }
  void raise_config_interrupt() override { ++config_interrupts; }
  void registers_changed() override { ++changes; }
  void reset_completed() override { ++resets; }

  std::array<FakeInterrupt, 2> interrupts;
  u32 doorbells_asked_for = 0;
  bool refuses_doorbells = false;
  u32 config_interrupts = 0;
  u32 changes = 0;
  u32 resets = 0;
};

struct Machine {
  ~Machine() {
    control.shut_down();
    while (!control.stopped()) {
      io.finish_cancelled();
      io.finish_all(0);
    }
  }

  void negotiate(u64 features = kCommonFeatures) {
    control.write_status(kAck);
    control.write_status(kDriver);
    control.write_driver_features(0, static_cast<u32>(features));
    control.write_driver_features(1, static_cast<u32>(features >> 32));
    control.write_status(kFeaturesOk);
  }
  void set_up_queue(u16 index, const FakeDriver& driver) {
    control.write_queue_size(index, driver.layout.size);
    const auto write = [&](RingPart part, GuestAddress gpa) {
      control.write_queue_address(index, part, false, static_cast<u32>(address(gpa)));
      control.write_queue_address(index, part, true, static_cast<u32>(address(gpa) >> 32));
    };
    write(RingPart::kDescriptors, driver.layout.descriptors);
    write(RingPart::kDriverArea, driver.layout.driver_area);
    write(RingPart::kDeviceArea, driver.layout.device_area);
    control.write_queue_enable(index, 1);
  }
  void start() {
    negotiate();
    set_up_queue(0, ring);
    control.write_status(kDriverOk);
  }

  // The driver writes to the queue's notify address: an exit, or a signal of the eventfd.
  void ring_doorbell(u16 index) {
    for (u32 i = 0; i < io.size(); ++i)
      if (io.pending(i).fd == kFirstDoorbell + index) return io.fire(i, POLLIN);
    control.notify(index);
    io.end_turn();
  }

  std::vector<std::string> lines;
  FakeIo io;
  FakeRam ram;
  FakeDriver ring{ram, 8};
  FakeDriver second{ram, 4};
  Log log{[this](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning};
  FakeDevice device{io};
  FakeFace face;
  Control control{device, {.io = io, .memory = ram.memory(), .log = log, .name = "fake"}, face};
};

TEST_CASE("control: a driver that follows the steps gets the device running") {
  Machine m;
  m.start();
  CHECK(m.control.status() == kDriverOk);
  CHECK(m.device.starts == 1);
  CHECK(m.device.started_features == kCommonFeatures);
  CHECK(m.device.running == 1);
}

TEST_CASE("control: the first ring is an exit, and makes the eventfd that is polled from then on") {
  Machine m;
  m.start();
  REQUIRE(m.io.empty());
  m.ring.chain().writes(1).offer();
  m.control.notify(0);
  m.control.notify(0);  // of another vCPU at the same time
  CHECK(m.device.served[0] == 1);
  CHECK(m.face.doorbells_asked_for == 1);
  REQUIRE(m.io.size() == 1);
  CHECK(m.io.pending(0).kind == Op::Kind::kPollMultishot);
  CHECK(m.io.pending(0).fd == kFirstDoorbell);
  m.ring.chain().writes(1).offer();
  m.io.fire(0, POLLIN);
  CHECK(m.device.served[0] == 2);
}

TEST_CASE("control: an eventfd that is there is polled from DRIVER_OK on, without an exit") {
  Machine m;
  m.start();
  m.control.notify(0);
  m.control.write_status(0);
  m.io.finish_cancelled();
  CHECK(m.io.empty());
  m.start();
  REQUIRE(m.io.size() == 1);
  CHECK(m.io.pending(0).fd == kFirstDoorbell);
  m.control.notify(0);  // through the window in configuration space, say
  CHECK(m.face.doorbells_asked_for == 1);
  CHECK(m.io.size() == 1);
}

TEST_CASE("control: where the host has no eventfd, each ring is an exit, until the driver starts anew") {
  Machine m;
  m.face.refuses_doorbells = true;
  m.start();
  for (int i = 1; i <= 3; ++i) {
    m.ring.chain().writes(1).offer();
    m.control.notify(0);
    CHECK(m.device.served[0] == u32(i));
  }
  CHECK(m.io.empty());
  CHECK(m.face.doorbells_asked_for == 1);
  CHECK(m.lines ==
        std::vector<std::string>{"fake: queue 0 has no doorbell and is slow: no more descriptors"});
  m.control.write_status(0);
  m.face.refuses_doorbells = false;
  m.start();
  m.control.notify(0);
  CHECK(m.io.size() == 1);
}

TEST_CASE("control: a doorbell makes the device look at the queue") {
  Machine m;
  m.start();
  m.ring.chain().writes(1).offer();
  CHECK(m.device.served[0] == 0);
  m.ring_doorbell(0);
  CHECK(m.device.served[0] == 1);
  CHECK(m.face.interrupts[0].raised == 1);
}

TEST_CASE("control: each queue's traffic is counted, over resets, too") {
  Machine m;
  m.start();
  m.ring.chain().reads(u32{7}).writes(1).offer();
  m.ring_doorbell(0);
  const QueueCounters& counters = m.control.counters()[0];
  CHECK(counters.requests.value() == 1);
  CHECK(counters.bytes_from_guest.value() == 4);
  CHECK(counters.notifications.value() == 1);
  CHECK(counters.interrupts.value() == 1);
  CHECK(m.control.counters()[1].requests.value() == 0);

  m.control.write_status(0);
  m.io.finish_cancelled();
  CHECK(m.control.status() == 0);
  CHECK(counters.requests.value() == 1);
}

TEST_CASE("control: a queue that the driver breaks counts as an error of the device") {
  Machine m;
  m.start();
  m.ring.chain().writes(1).offer();
  CHECK(m.device.errors().value() == 0);
  m.ring.avail_index() = 100;
  m.ring_doorbell(0);
  CHECK(m.device.errors().value() == 1);
}

TEST_CASE("control: a request that is there at DRIVER_OK needs no doorbell") {
  Machine m;
  m.ring.chain().writes(1).offer();
  m.start();
  CHECK(m.device.served[0] == 1);
}

TEST_CASE("control: both queues run, each on its own doorbell") {
  Machine m;
  m.negotiate();
  m.set_up_queue(0, m.ring);
  m.set_up_queue(1, m.second);
  m.control.write_status(kDriverOk);
  CHECK(m.device.running == 2);
  m.control.notify(0);
  m.control.notify(1);
  m.second.chain().writes(1).offer();
  m.ring_doorbell(1);
  CHECK(m.device.served == std::array<u32, 2>{0, 1});
  CHECK(m.face.interrupts[1].raised == 1);
}

TEST_CASE("control: a doorbell whose poll the kernel ended is listened to again") {
  Machine m;
  m.start();
  m.control.notify(0);
  m.ring.chain().writes(1).offer();
  m.io.finish(0, POLLIN);
  CHECK(m.device.served[0] == 1);
  CHECK(m.io.size() == 1);
}

TEST_CASE(
    "control: a doorbell that cannot be polled for want of memory is polled again, and no notification is "
    "lost") {
  Machine m;
  m.start();
  m.control.notify(0);
  m.ring.chain().writes(1).offer();
  m.io.finish(0, -ENOMEM);
  CHECK(m.device.served[0] == 1);
  CHECK(m.io.size() == 1);
}

TEST_CASE("control: a doorbell that can never be polled is a device that needs a reset") {
  Machine m;
  m.start();
  m.control.notify(0);
  for (int i = 0; i < 100; ++i) m.io.finish(0, -ENOMEM);
  CHECK_FALSE(m.control.status() & VIRTIO_CONFIG_S_NEEDS_RESET);
  m.io.finish(0, -ENOMEM);
  CHECK(m.io.empty());
  CHECK(m.control.status() & VIRTIO_CONFIG_S_NEEDS_RESET);
}

TEST_CASE("control: [case 27] notifications before DRIVER_OK, or for a queue that is off, do nothing") {
  Machine m;
  m.ring.chain().writes(1).offer();
  m.control.notify(0);
  m.negotiate();
  m.set_up_queue(0, m.ring);
  m.control.notify(0);
  CHECK(m.device.served[0] == 0);
  m.control.write_status(kDriverOk);
  m.control.notify(1);
  m.control.notify(2);
  m.control.notify(0xffff);
  CHECK(m.device.served == std::array<u32, 2>{1, 0});
  CHECK(m.face.doorbells_asked_for == 0);
}

TEST_CASE("control: [case 23] [case 24] a ring that cannot be served stays disabled, and DRIVER_OK fails") {
  Machine m;
  m.negotiate();
  const u64 bad = GENERATE(FakeRam::kStart + 1, FakeRam::kEnd - 8, u64{0xd000'0000}, ~u64{0});
  m.control.write_queue_address(0, RingPart::kDescriptors, false, static_cast<u32>(bad));
  m.control.write_queue_address(0, RingPart::kDescriptors, true, static_cast<u32>(bad >> 32));
  m.control.write_queue_enable(0, 1);
  CHECK_FALSE(m.control.queue(0)->enabled);
  m.control.write_status(kDriverOk);
  CHECK(m.control.status() == (kDriverOk | kNeedsReset));
  CHECK(m.face.config_interrupts == 1);
  CHECK(m.device.running == 0);
}

TEST_CASE("control: [case 25] a queue size that cannot be is refused") {
  Machine m;
  m.control.write_queue_size(0, 2);
  for (const u16 size : {0, 3, 16, 0x8000, 0xffff}) m.control.write_queue_size(0, size);
  CHECK(m.control.queue(0)->layout.size == 2);
}

TEST_CASE("control: [case 26] queue registers written after DRIVER_OK read back as they were") {
  Machine m;
  m.start();
  m.set_up_queue(0, m.second);
  m.set_up_queue(1, m.second);
  m.control.write_queue_enable(0, 0);
  CHECK(m.control.queue(0)->layout.size == 8);
  CHECK(m.control.queue(0)->layout.descriptors == m.ring.layout.descriptors);
  CHECK(m.control.queue(0)->enabled);
  CHECK_FALSE(m.control.queue(1)->enabled);
  CHECK(m.control.queue(1)->layout.descriptors == guest(0));
}

TEST_CASE("control: [case 36] queues that are not there") {
  Machine m;
  CHECK(m.control.num_queues() == 2);
  CHECK(m.control.queue(2) == nullptr);
  m.control.write_queue_size(0xffff, 1);
  m.control.write_queue_address(2, RingPart::kDeviceArea, true, 1);
  m.control.write_queue_enable(0xffff, 1);
  CHECK(m.control.queue(0xffff) == nullptr);
}

TEST_CASE("control: [case 46] features that were not offered, or no VERSION_1, are not accepted") {
  Machine m;
  m.negotiate(GENERATE(kCommonFeatures | feature(63), kCommonFeatures | feature(7), feature(5), u64{0}));
  CHECK(m.control.status() == kDriver);
  m.control.write_status(kDriverOk);
  CHECK(m.control.status() == kDriver);
  CHECK(m.device.starts == 0);
}

TEST_CASE("control: [case 46] feature words beyond 64 bits do not exist") {
  Machine m;
  m.control.write_driver_features(2, ~0u);
  m.control.write_driver_features(~0u, ~0u);
  CHECK(m.control.driver_features() == 0);
}

TEST_CASE("control: [case 47] steps that are skipped are ignored") {
  Machine m;
  m.control.write_status(VIRTIO_CONFIG_S_DRIVER);
  CHECK(m.control.status() == 0);
  m.control.write_status(VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK);
  CHECK(m.control.status() == 0);
  m.control.write_status(kAck);
  m.control.write_status(kAck | VIRTIO_CONFIG_S_FEATURES_OK);
  CHECK(m.control.status() == kAck);
}

TEST_CASE("control: [case 47] DRIVER_OK without FEATURES_OK, or at once with it, is ignored") {
  Machine m;
  m.control.write_driver_features(1, 1);
  m.control.write_status(kDriver);
  m.control.write_status(kDriver | VIRTIO_CONFIG_S_DRIVER_OK);
  CHECK(m.control.status() == kDriver);
  m.control.write_status(kDriverOk);
  CHECK(m.control.status() == kFeaturesOk);
  CHECK(m.device.starts == 0);
}

TEST_CASE("control: [case 47] bits that would be cleared stay, and so does DRIVER_OK when written again") {
  Machine m;
  m.start();
  m.control.write_status(kAck);
  CHECK(m.control.status() == kDriverOk);
  m.control.write_status(kDriverOk);
  CHECK(m.device.starts == 1);
}

TEST_CASE("control: [case 47] bits that mean nothing are not stored; FAILED is") {
  Machine m;
  m.control.write_status(kAck | 0x30 | kNeedsReset);
  CHECK(m.control.status() == kAck);
  m.control.write_status(kAck | VIRTIO_CONFIG_S_FAILED);
  CHECK(m.control.status() == (kAck | VIRTIO_CONFIG_S_FAILED));
}

TEST_CASE("control: [case 48] features written after FEATURES_OK are ignored") {
  Machine m;
  m.negotiate();
  m.control.write_driver_features(0, feature(5));
  CHECK(m.control.driver_features() == kCommonFeatures);
}

TEST_CASE("control: a device that never ran is reset at once") {
  Machine m;
  m.negotiate();
  m.set_up_queue(0, m.ring);
  m.control.write_status(0);
  CHECK(m.control.status() == 0);
  CHECK(m.control.driver_features() == 0);
  CHECK_FALSE(m.control.queue(0)->enabled);
  CHECK(m.control.queue(0)->layout.descriptors == guest(0));
  CHECK(m.face.resets == 1);
}

TEST_CASE("control: [case 30] status reads 0 only when nothing is in flight any more") {
  Machine m;
  m.device.wait_for_host = true;
  for (int i = 0; i < 3; ++i) m.ring.chain().writes(1).offer();
  m.start();
  m.control.notify(0);
  REQUIRE(m.io.size() == 4);  // three requests and the doorbell

  m.control.write_status(0);
  CHECK(m.io.cancelled.size() == 4);
  m.control.write_status(0);  // again: changes nothing
  m.control.write_status(kDriverOk);
  while (!m.io.empty()) {
    CHECK(m.control.status() == kDriverOk);
    CHECK(m.device.resets == 0);
    m.io.finish(0, m.io.size() % 2 ? -ECANCELED : 0);
  }
  CHECK(m.control.status() == 0);
  CHECK(m.device.resets == 1);
  CHECK(m.device.running == 0);

  const u16 used = m.ring.used_index();
  m.io.end_turn();
  CHECK(m.ring.used_index() == used);
}

TEST_CASE("control: chains that the device keeps until its reset are no obstacle") {
  Machine m;
  m.device.keep = true;
  m.ring.chain().writes(1).offer();
  m.start();
  REQUIRE(m.device.kept.size() == 1);
  m.control.write_status(0);
  m.io.finish_cancelled();
  CHECK(m.control.status() == 0);
}

TEST_CASE("control: what a device starts during a reset is cancelled, too") {
  Machine m;
  struct Retry {
    static Task<> run(FakeDevice& device) {
      for (int i = 0; i < 3; ++i) {
        const i32 done = co_await device.io().poll(5, POLLIN);
        (void)done;
      }
    }
  };
  TaskScope scope;
  m.start();
  scope.spawn(Retry::run(m.device));
  m.control.write_status(0);
  for (int i = 0; i < 3; ++i) {
    CHECK(m.control.status() != 0);
    m.io.finish_cancelled();
  }
  CHECK(m.control.status() == 0);
}

TEST_CASE("control: [case 31] reset and re-initialised as often as one likes") {
  Machine m;
  m.device.wait_for_host = true;
  for (u32 i = 1; i <= 10'000; ++i) {
    m.ring.avail_index() = m.ring.used_index() = 0;
    m.ring.offer_descriptor(0, {.addr = FakeRam::kStart, .len = 1, .flags = VRING_DESC_F_WRITE, .next = 0});
    m.start();
    m.control.notify(0);
    REQUIRE(m.device.running == 1);
    m.control.write_status(0);
    m.io.finish_cancelled();
    REQUIRE(m.control.status() == 0);
  }
  CHECK(m.device.served[0] == 10'000);
  CHECK(m.face.doorbells_asked_for == 1);
  CHECK(m.io.empty());
}

TEST_CASE("control: [case 1] a broken queue sets NEEDS_RESET once, with a configuration interrupt") {
  Machine m;
  m.start();
  m.ring.avail_index() = 100;
  m.ring_doorbell(0);
  m.ring_doorbell(0);
  CHECK(m.control.status() == (kDriverOk | kNeedsReset));
  CHECK(m.face.config_interrupts == 1);
  CHECK(m.face.changes == 1);
}

TEST_CASE("control: after NEEDS_RESET a reset gets it running again") {
  Machine m;
  m.start();
  m.ring.avail_index() = 100;
  m.ring_doorbell(0);
  m.control.write_status(0);
  m.io.finish_cancelled();
  REQUIRE(m.control.status() == 0);
  m.ring.avail_index() = 0;
  m.start();
  CHECK(m.device.running == 1);
  CHECK(m.control.status() == kDriverOk);
}

TEST_CASE("control: [case 52] a change of configuration has a new generation, and an interrupt if it runs") {
  Machine m;
  m.device.change(1);
  CHECK(m.control.generation() == 1);
  CHECK(m.face.config_interrupts == 0);
  m.start();
  m.device.change(2);
  CHECK(m.control.generation() == 2);
  CHECK(m.face.config_interrupts == 1);
  CHECK(m.face.changes == 2);
}

}  // namespace
}  // namespace uvmm
