// SPDX-License-Identifier: Apache-2.0
// A balloon's driver without a balloon: says twice how its memory is used, each time until the host asks
// anew, then that it does without as many pages as the host wants, until these are none again.
#include <linux/virtio_balloon.h>

#include "virtio.h"

namespace payload {
namespace {

constexpr u16 kStatsQueue = 2;  // virtio 1.2, 5.5.2

u32 wait_for_target(const VirtioDevice& balloon, bool none) {
  for (;;) {
    const u32 pages = balloon.config<u32>(offsetof(virtio_balloon_config, num_pages));
    if ((pages == 0) == none) return pages;
    asm volatile("pause");
  }
}

}  // namespace

void run() {
  VirtioDevice balloon;
  if (!balloon.open(VIRTIO_ID_BALLOON)) fail("no balloon");
  balloon.negotiate(feature(VIRTIO_BALLOON_F_STATS_VQ));
  VirtQueue queue = balloon.set_up_queue(kStatsQueue);
  balloon.driver_ok();

  auto* const stats = static_cast<virtio_balloon_stat*>(allocate(2 * sizeof(virtio_balloon_stat), 8));
  stats[0] = {.tag = VIRTIO_BALLOON_S_MEMTOT, .val = 64 << 20};
  stats[1] = {.tag = VIRTIO_BALLOON_S_MEMFREE, .val = 1 << 20};
  queue.transfer({{stats, 2 * sizeof *stats, false}});
  stats[0] = {.tag = VIRTIO_BALLOON_S_MAJFLT, .val = 7};
  stats[1] = {.tag = VIRTIO_BALLOON_S_MEMFREE, .val = 2 << 20};
  queue.transfer({{stats, 2 * sizeof *stats, false}});

  for (const bool none : {false, true})
    balloon.set_config(offsetof(virtio_balloon_config, actual), wait_for_target(balloon, none));
  print("balloon: ok\n");
}

}  // namespace payload
