// SPDX-License-Identifier: Apache-2.0
// For each disk: capacity and serial; reads and, if it may, writes its first 64 KiB and its last sector with
// a pattern, flushes and reads back. Leaves the pattern there.
#include "disk.h"

namespace payload {
namespace {

constexpr u32 kBytes = 64_KiB;

void expect(u8 status, u8 wanted, const char* what) {
  if (status != wanted) fail(what, ": status ", u32{status});
}

void write_and_verify(Disk& disk, u64 sector, u32 bytes) {
  static u8* const pattern = static_cast<u8*>(allocate(kBytes, kPageSize));
  static u8* const back = static_cast<u8*>(allocate(kBytes, kPageSize));
  auto* const words = reinterpret_cast<u64*>(pattern);
  for (u32 i = 0; i < bytes / 8; ++i) words[i] = (sector * kSector + i * 8) * 0x9e37'79b9'7f4a'7c15;
  expect(disk.write(sector, pattern, bytes), VIRTIO_BLK_S_OK, "write");
  expect(disk.flush(), VIRTIO_BLK_S_OK, "flush");
  expect(disk.read(sector, back, bytes), VIRTIO_BLK_S_OK, "read");
  if (memcmp(pattern, back, bytes) != 0) fail("read and written differ at sector ", sector);
}

void try_disk(u32 number, VirtioDevice& device) {
  Disk disk(device);
  char* const serial = static_cast<char*>(allocate(VIRTIO_BLK_ID_BYTES + 1, 8));
  expect(disk.get_id(serial), VIRTIO_BLK_S_OK, "get-id");
  print("disk ", number, ": ", disk.capacity(), " sectors, serial ", serial, "\n");

  auto* const sector = static_cast<u8*>(allocate(kSector, kSector));
  expect(disk.read(disk.capacity() - 1, sector, kSector), VIRTIO_BLK_S_OK, "read of the last sector");
  expect(disk.read(disk.capacity(), sector, kSector), VIRTIO_BLK_S_IOERR, "read past the end");
  if (disk.read_only()) {
    expect(disk.write(0, sector, kSector), VIRTIO_BLK_S_IOERR, "write to a read-only disk");
    print("disk ", number, ": read-only\n");
    return;
  }
  if (disk.capacity() * kSector >= kBytes) write_and_verify(disk, 0, kBytes);
  write_and_verify(disk, disk.capacity() - 1, kSector);
  print("disk ", number, ": written and verified\n");
}

}  // namespace

void run() {
  u32 count = 0;
  for (VirtioDevice device; device.open(VIRTIO_ID_BLOCK, count); device = {}) try_disk(count++, device);
  print("block: ok, ", count, " disks\n");
}

}  // namespace payload
