// SPDX-License-Identifier: Apache-2.0
// When a virtqueue interrupts the driver, and asks to be notified.
#include "devices/virtio/virtqueue.h"

#include <catch2/catch.hpp>

#include "tests/unit/virtqueue_fixture.h"

namespace uvmm {
namespace {

TEST_CASE("virtqueue: with the event index, one interrupt when its entry is among those published") {
  Ring ring(8, kEventIndex);
  ring.driver.used_event() = 2;  // wake me at the third
  for (u32 i = 0; i < 2; ++i) ring.driver.chain().writes(1).offer();
  while (ring.device.pop()) continue;
  CHECK_FALSE(ring.device.publish());
  for (u32 i = 0; i < 3; ++i) ring.driver.chain().writes(1).offer();
  while (ring.device.pop()) continue;
  CHECK(ring.device.publish());
  ring.driver.chain().writes(1).offer();
  ring.device.pop();
  CHECK_FALSE(ring.device.publish());
}

TEST_CASE("virtqueue: without the event index, the driver's flag decides on interrupts") {
  Ring ring(8, kPlain);
  ring.driver.avail_flags() = VRING_AVAIL_F_NO_INTERRUPT;
  ring.driver.chain().writes(1).offer();
  ring.device.pop();
  CHECK_FALSE(ring.device.publish());
  ring.driver.avail_flags() = 0;
  ring.driver.chain().writes(1).offer();
  ring.device.pop();
  CHECK(ring.device.publish());
}

TEST_CASE("virtqueue: notifications are asked for at the next request") {
  Ring ring(8, kEventIndex);
  ring.driver.chain().writes(1).offer();
  ring.device.pop();
  CHECK(ring.device.enable_notifications());
  CHECK(ring.driver.avail_event() == 1);
  CHECK(ring.driver.used_flags() == 0);
}

TEST_CASE("virtqueue: a request that came while notifications were asked for is not missed") {
  Ring ring(8, GENERATE(kPlain, kEventIndex));
  ring.device.disable_notifications();
  ring.driver.chain().writes(1).offer();
  CHECK_FALSE(ring.device.enable_notifications());
  CHECK(ring.device.pop());
}

TEST_CASE("virtqueue: an index that is withdrawn after notifications were asked for is not believed") {
  Ring ring(8);
  ring.driver.chain().writes(1).offer();
  CHECK_FALSE(ring.device.enable_notifications());
  ring.driver.avail_index() = 0;
  CHECK(ring.device.pop());
  CHECK_FALSE(ring.device.pop());
  CHECK(ring.device.broken());
}

}  // namespace
}  // namespace uvmm
