// SPDX-License-Identifier: Apache-2.0
// Reads a disk's last sector until that fails, since the host has cut the disk meanwhile; then its first.
#include "disk.h"

void payload::run() {
  VirtioDevice device;
  if (!device.open(VIRTIO_ID_BLOCK)) fail("no disk");
  Disk disk(device);
  auto* const sector = static_cast<u8*>(allocate(kSector, kSector));
  if (disk.read(disk.capacity() - 1, sector, kSector) != VIRTIO_BLK_S_OK) fail("the disk is cut already");
  print("whole\n");

  u8 status = VIRTIO_BLK_S_OK;
  while (status == VIRTIO_BLK_S_OK) status = disk.read(disk.capacity() - 1, sector, kSector);
  if (status != VIRTIO_BLK_S_IOERR) fail("status ", u32{status});
  if (disk.read(0, sector, kSector) != VIRTIO_BLK_S_OK) fail("the first sector cannot be read");
  print("cut\n");
}
