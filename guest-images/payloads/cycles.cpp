// SPDX-License-Identifier: Apache-2.0
// Resets a disk and sets it up anew, with a queue of a random size each time, and reads a sector where the
// queue has room for that. Says when it has done a fifth of it, and at the end waits to be stopped. On the
// kernel command line: cycles=N.
#include <linux/virtio_blk.h>

#include "virtio.h"

namespace payload {

void run() {
  VirtioDevice disk;
  if (!disk.open(VIRTIO_ID_BLOCK)) fail("no disk");
  auto* const sector = static_cast<u8*>(allocate(512, 512));
  auto* const header = static_cast<virtio_blk_outhdr*>(allocate(sizeof(virtio_blk_outhdr), 16));
  auto* const status = static_cast<u8*>(allocate(1, 1));
  print("cycles\n");
  const u64 cycles = parameter("cycles", 100);
  const std::size_t heap_before = allocated();
  leave_kernel_mode();

  u64 random = 0x9e37'79b9'7f4a'7c15;
  for (u64 cycle = 0; cycle < cycles; ++cycle) {
    random = random * 6364136223846793005 + 1442695040888963407;
    disk.restart();
    release_down_to(heap_before);
    disk.negotiate(random >> 32);
    VirtQueue queue = disk.set_up_queue(0, u16(1 << (random >> 60) % 9));
    disk.driver_ok();
    if (queue.size() >= 4) {
      *header = {.type = VIRTIO_BLK_T_IN, .ioprio = 0, .sector = 0};
      if (queue.transfer({{header, sizeof *header, false}, {sector, 512, true}, {status, 1, true}}) != 513)
        fail("a read failed in cycle ", cycle);
    }
    if (cycle == cycles / 5) print("a fifth\n");
  }
  print("all\n");
  for (;;) asm volatile("pause");
}

}  // namespace payload
