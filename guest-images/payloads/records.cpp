// SPDX-License-Identifier: Apache-2.0
// Writes numbered records of 4 KiB, each a block of its own with the number in every word, and reports each
// when it is flushed: what has been reported must be on the disk whatever happens next.
#include "disk.h"

void payload::run() {
  VirtioDevice device;
  if (!device.open(VIRTIO_ID_BLOCK)) fail("no disk");
  Disk disk(device);
  auto* const record = static_cast<u64*>(allocate(kPageSize, kPageSize));
  const u64 count = disk.capacity() * kSector / kPageSize;
  leave_kernel_mode();
  for (u64 number = 1; number < count; ++number) {
    for (u32 i = 0; i < kPageSize / 8; ++i) record[i] = number;
    if (disk.write(number * (kPageSize / kSector), record, kPageSize) != VIRTIO_BLK_S_OK) fail("write");
    if (disk.flush() != VIRTIO_BLK_S_OK) fail("flush");
    print("record ", number, "\n");
  }
}
