// SPDX-License-Identifier: Apache-2.0
// Reads random bytes twice and compares.
#include "virtio.h"

void payload::run() {
  VirtioDevice rng;
  if (!rng.open(VIRTIO_ID_RNG)) fail("no rng");
  rng.negotiate(0);
  VirtQueue queue = rng.set_up_queue(0);
  rng.driver_ok();

  constexpr u32 kBytes = 64;
  auto* const first = static_cast<u8*>(allocate(kBytes, 8));
  auto* const second = static_cast<u8*>(allocate(kBytes, 8));
  const u32 got = queue.transfer({{first, kBytes, true}});
  if (got != kBytes) fail("64 bytes asked, ", got, " given");
  if (queue.transfer({{second, kBytes / 2, true}, {second + kBytes / 2, kBytes / 2, true}}) != kBytes) {
    fail("two buffers are not filled");
  }
  if (memcmp(first, second, kBytes) == 0) fail("the same bytes twice");
  print("rng: ok\n");
}
