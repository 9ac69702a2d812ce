// SPDX-License-Identifier: Apache-2.0
// Ring: a virtqueue between a driver and a device's side of it.
#pragma once

#include <optional>

#include "devices/virtio/virtqueue.h"
#include "tests/fakes/fake_driver.h"

namespace uvmm {

constexpr u64 kPlain = feature(VIRTIO_F_VERSION_1);
constexpr u64 kEventIndex = kPlain | feature(VIRTIO_RING_F_EVENT_IDX);

struct Ring {
  explicit Ring(u16 size = 8, u64 features = kCommonFeatures)
      : driver(size, features), device(driver.memory, driver.layout, features) {}

  // Whether what the driver has offered last breaks the ring, with nothing taken.
  bool breaks() {
    const std::optional<DescriptorChain> chain = device.pop();
    return !chain && device.broken() && device.chains_out() == 0;
  }

  FakeDriver driver;
  Virtqueue device;
};

}  // namespace uvmm
