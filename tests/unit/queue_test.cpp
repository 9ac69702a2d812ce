// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/queue.h"

#include <catch2/catch.hpp>
#include <vector>

#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"
#include "vmm/base/task.h"

namespace uvmm {
namespace {

// Takes every chain there is, and either ends it at once or keeps it.
struct Server {
  Task<> run() {
    for (;;) {
      std::optional<DescriptorChain> chain = co_await queue.next();
      if (!chain) break;
      ++served;
      if (keep) kept.push_back(std::move(*chain));
    }
    ended = true;
  }

  Queue& queue;
  u32 served = 0;
  bool keep = false;
  bool ended = false;
  std::vector<DescriptorChain> kept{};
};

struct Fixture {
  explicit Fixture(u64 features = FakeDriver::kAllFeatures) : driver(4, features) {}
  ~Fixture() {
    server.kept.clear();
    device.queue.stop();
    io.finish_all(0);
  }
  void offer() { driver.chain().writes(16).offer(); }

  FakeIo io;
  FakeDriver driver;
  FakeQueue device{io, driver};
  Server server{device.queue};
  TaskScope scope;
};

TEST_CASE("queue: a request that is there is served without waiting") {
  Fixture f;
  f.offer();
  f.scope.spawn(f.server.run());
  CHECK(f.server.served == 1);
  CHECK(f.io.empty());
}

TEST_CASE("queue: an empty queue waits for the doorbell") {
  Fixture f;
  f.scope.spawn(f.server.run());
  f.offer();
  CHECK(f.server.served == 0);
  f.device.queue.notify();
  CHECK(f.server.served == 1);
}

TEST_CASE("queue: an interrupt that is put off is to be expected until it has been raised") {
  Fixture f;
  Queue& queue = f.device.queue;
  f.server.keep = true;
  f.scope.spawn(f.server.run());
  queue.delay_interrupts(true);
  CHECK_FALSE(queue.expects_interrupt());
  f.offer();
  queue.notify();
  CHECK(queue.expects_interrupt());  // the request is out
  f.server.kept.clear();
  CHECK(queue.expects_interrupt());  // it is back, but the turn has not ended
  f.io.end_turn();
  CHECK(queue.expects_interrupt());
  CHECK(f.device.interrupt.raised == 0);
  queue.interrupt_now();
  CHECK(f.device.interrupt.raised == 1);
  CHECK_FALSE(queue.expects_interrupt());
}

TEST_CASE("queue: a doorbell without a request resumes nobody") {
  Fixture f;
  f.scope.spawn(f.server.run());
  for (int i = 0; i < 100; ++i) f.device.queue.notify();
  CHECK(f.server.served == 0);
  CHECK_FALSE(f.server.ended);
  CHECK(f.io.submitted == 0);
}

TEST_CASE("queue: an idle queue asks for a notification at the next request") {
  Fixture f;
  f.offer();
  f.scope.spawn(f.server.run());
  CHECK(f.driver.avail_event() == 0);
  f.io.end_turn();
  CHECK(f.driver.avail_event() == 1);
}

TEST_CASE("queue: a request that came without a notification is found before the thread sleeps") {
  Fixture f;
  f.scope.spawn(f.server.run());
  f.offer();
  f.io.end_turn();
  CHECK(f.server.served == 1);
  CHECK(f.driver.used_index() == 1);
  CHECK(f.driver.avail_event() == 1);
}

TEST_CASE("queue: a driver that has just been answered is worth to look for its next request") {
  Fixture f;
  f.server.keep = true;
  f.offer();
  f.scope.spawn(f.server.run());
  CHECK_FALSE(f.io.is_eager());
  f.server.kept.clear();
  f.device.queue.notify();
  f.io.end_turn();
  CHECK_FALSE(f.io.is_eager());  // it has looked for the last time

  f.offer();
  f.device.queue.notify();
  f.server.kept.clear();
  CHECK_FALSE(f.io.look());
  f.offer();
  CHECK(f.io.look());
  CHECK(f.server.served == 3);
  CHECK_FALSE(f.io.look());
}

TEST_CASE("queue: without the event index, notifications are off while requests are served") {
  Fixture f(feature(VIRTIO_F_VERSION_1));
  f.offer();
  const std::optional<DescriptorChain> chain = f.device.queue.try_next();
  REQUIRE(chain);
  CHECK(f.driver.used_flags() == VRING_USED_F_NO_NOTIFY);
  f.scope.spawn(f.server.run());
  f.io.end_turn();
  CHECK(f.driver.used_flags() == 0);
}

TEST_CASE("queue: used entries are published at the turn's end, with one interrupt for all") {
  Fixture f;
  for (int i = 0; i < 3; ++i) f.offer();
  f.scope.spawn(f.server.run());
  CHECK(f.driver.used_index() == 0);
  f.io.end_turn();
  CHECK(f.driver.used_index() == 3);
  CHECK(f.device.interrupt.raised == 1);
}

TEST_CASE("queue: a request that ends in a later turn is published then") {
  Fixture f;
  f.server.keep = true;
  f.offer();
  f.scope.spawn(f.server.run());
  f.io.end_turn();
  CHECK(f.driver.used_index() == 0);
  CHECK(f.device.interrupt.raised == 0);
  f.server.kept[0].written = 7;
  f.server.kept.clear();
  f.io.end_turn();
  CHECK(f.driver.take_used()->len == 7);
  CHECK(f.device.interrupt.raised == 1);
}

TEST_CASE("queue: a driver that wants no interrupt gets none") {
  Fixture f(feature(VIRTIO_F_VERSION_1));
  f.driver.avail_flags() = VRING_AVAIL_F_NO_INTERRUPT;
  f.offer();
  f.scope.spawn(f.server.run());
  f.io.end_turn();
  CHECK(f.driver.used_index() == 1);
  CHECK(f.device.interrupt.raised == 0);
}

TEST_CASE("queue: [case 29] a driver that keeps the ring full lets others run after a ring's worth") {
  Fixture f;
  struct Refiller {
    // As a second vCPU would, offers the next request as soon as one is taken.
    static Task<> run(Fixture& fixture, u32& served) {
      for (;;) {
        std::optional<DescriptorChain> chain = co_await fixture.device.queue.next();
        if (!chain) break;
        ++served;
        const u16 head = chain->head();
        chain.reset();
        if (served < 10) fixture.driver.offer_head(head);
      }
    }
  };
  u32 served = 0;
  f.offer();
  f.scope.spawn(Refiller::run(f, served));
  CHECK(served == 4);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).kind == Op::Kind::kNop);

  f.device.queue.notify();  // changes nothing: its turn comes
  CHECK(served == 4);
  f.io.end_turn();
  f.io.finish(0, 0);
  CHECK(served == 8);
  f.io.finish(0, 0);
  CHECK(served == 10);
  CHECK(f.io.empty());
}

TEST_CASE("queue: stopping ends the wait, and later ones") {
  Fixture f;
  f.scope.spawn(f.server.run());
  f.device.queue.stop();
  CHECK(f.server.ended);
  CHECK(f.device.queue.stopped());
  f.offer();
  CHECK_FALSE(f.device.queue.try_next());
  f.device.queue.notify();
  CHECK(f.server.served == 0);
}

TEST_CASE("queue: stopping while the waiter lets others run ends it at once") {
  Fixture f;
  for (int i = 0; i < 4; ++i) f.offer();
  f.scope.spawn(f.server.run());
  REQUIRE(f.io.size() == 1);
  f.device.queue.stop();
  CHECK(f.server.ended);
  f.io.finish(0, -ECANCELED);
  CHECK(f.server.served == 4);
}

TEST_CASE("queue: requests that end after the stop are still published") {
  Fixture f;
  f.server.keep = true;
  f.offer();
  f.scope.spawn(f.server.run());
  f.device.queue.stop();
  f.server.kept.clear();
  f.io.end_turn();
  CHECK(f.driver.used_index() == 1);
}

TEST_CASE("queue: [case 1] a broken ring ends the server and is reported once") {
  Fixture f;
  f.scope.spawn(f.server.run());
  f.driver.avail_index() = 5;
  f.device.queue.notify();
  CHECK(f.server.ended);
  CHECK(f.device.listener.broke == 1);
  f.device.queue.notify();
  CHECK_FALSE(f.device.queue.try_next());
  CHECK(f.device.listener.broke == 1);
}

TEST_CASE("queue: [case 1] a ring that breaks while notifications are asked for is reported, too") {
  // The used ring's flags lie on the available ring's index, so that asking for notifications moves it.
  FakeRam ram;
  const GuestAddress rings = ram.allocate(256, 16) + 2;
  const GuestAddress descriptors = ram.allocate(64, 16);
  const Virtqueue::Layout layout{
      .size = 4, .descriptors = descriptors, .driver_area = rings, .device_area = rings + 2};
  *ram.memory().slice(descriptors + 8, 1)->data() = 16;  // its length
  *ram.memory().slice(rings + 2, 1)->data() = 1;
  FakeIo io;
  FakeInterrupt interrupt;
  FakeBrokenQueueListener listener;
  QueueCounters counters;
  Queue queue(io, ram.memory(), layout, feature(VIRTIO_F_VERSION_1), interrupt, listener, counters);
  Server server{queue};
  TaskScope scope;
  scope.spawn(server.run());
  CHECK(server.served == 1);
  io.end_turn();
  CHECK(server.ended);
  CHECK(listener.broke == 1);
}

TEST_CASE("queue: a device can break it; what it served before is not published any more") {
  Fixture f;
  f.server.keep = true;
  f.offer();
  f.scope.spawn(f.server.run());
  f.device.queue.mark_broken();
  f.device.queue.mark_broken();
  CHECK(f.device.listener.broke == 1);
  CHECK_FALSE(f.server.ended);
  f.server.kept.clear();
  f.io.end_turn();
  CHECK(f.driver.used_index() == 0);
  CHECK(f.device.interrupt.raised == 0);
  f.device.queue.stop();
  CHECK(f.server.ended);
}

TEST_CASE("queue: try_next takes what is there and never waits") {
  Fixture f;
  CHECK_FALSE(f.device.queue.try_next());
  f.offer();
  {
    const std::optional<DescriptorChain> chain = f.device.queue.try_next();
    REQUIRE(chain);
    CHECK(f.device.queue.chains_out() == 1);
  }
  f.io.end_turn();
  CHECK(f.driver.used_index() == 1);
}

}  // namespace
}  // namespace uvmm
