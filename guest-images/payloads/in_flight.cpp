// SPDX-License-Identifier: Apache-2.0
// Resets a disk under 256 requests, again and again, and sees to it that no guest memory changes once the
// status reads 0. On the kernel command line: rounds=N, and twice=1 to offer a request that is in flight
// again, which is what makes the driver reset the device then.
//
// Buffers that the device has no more business with are filled with 0xbb, which must never be on the disk.
#include <linux/virtio_blk.h>

#include "random.h"
#include "virtio.h"

namespace payload {
namespace {

constexpr u16 kRequests = 256;
constexpr u32 kSector = 512, kBytes = 64_KiB;
constexpr u64 kDataStart = 16_MiB, kDataEnd = kDataStart + u64{kRequests} * kBytes;
constexpr u64 kGone = 0xbbbb'bbbb'bbbb'bbbb;
constexpr u8 kWritten = 0x77;
constexpr u64 kTicksOfAMoment = 4'000'000;  // one or two milliseconds

// A request whose descriptors are a table, so that the ring holds one for each of its entries.
struct Request {
  vring_desc table[3];
  virtio_blk_outhdr header;
  u8 status;
};
Request* requests;
VirtioDevice disk;
VirtQueue queue;
std::size_t heap_before;

void wait(u64 ticks) {
  const u64 start = __builtin_ia32_rdtsc();
  while (__builtin_ia32_rdtsc() - start < ticks) asm volatile("pause");
}

void set_up(bool writes) {
  release_down_to(heap_before);
  disk.negotiate(feature(VIRTIO_RING_F_INDIRECT_DESC) | feature(VIRTIO_BLK_F_FLUSH));
  queue = disk.set_up_queue(0, kRequests);
  if (queue.size() != kRequests) fail("the queue has ", u32{queue.size()}, " entries");
  requests = static_cast<Request*>(allocate(sizeof(Request) * kRequests, 16));
  for (u16 i = 0; i < kRequests; ++i) {
    Request& request = requests[i];
    const u16 direction = writes ? 0 : VRING_DESC_F_WRITE;
    request.header = {.type = u32(writes ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN),
                      .ioprio = 0,
                      .sector = u64{i} * (kBytes / kSector)};
    request.table[0] = {reinterpret_cast<u64>(&request.header), sizeof request.header, VRING_DESC_F_NEXT, 1};
    request.table[1] = {kDataStart + u64{i} * kBytes, kBytes, u16(VRING_DESC_F_NEXT | direction), 2};
    request.table[2] = {reinterpret_cast<u64>(&request.status), 1, VRING_DESC_F_WRITE, 0};
    queue.descriptor(i) = {reinterpret_cast<u64>(request.table), sizeof request.table, VRING_DESC_F_INDIRECT,
                           0};
  }
  disk.driver_ok();
}

u16 used_index() {
  return mmio_read<u16>(queue.used() + offsetof(vring_used, idx));
}

void fill(u8 value) {
  memset(reinterpret_cast<void*>(kDataStart), value, kDataEnd - kDataStart);
}

void check_untouched() {
  for (u64 at = kDataStart; at < kDataEnd; at += 8)
    if (mmio_read<u64>(at) != kGone) fail("memory at ", hex(at), " changed after the reset");
  if (used_index() != 0) fail("the used ring changed after the reset");
  for (u16 i = 0; i < kRequests; ++i)
    if (requests[i].status != 0) fail("a status changed after the reset");
}

}  // namespace

void run() {
  if (!disk.open(VIRTIO_ID_BLOCK)) fail("no disk");
  print("in flight\n");
  heap_before = allocated();
  const bool twice = parameter("twice", 0) != 0;
  leave_kernel_mode();

  const u64 rounds = parameter("rounds", 10);
  u64 in_flight = 0;
  for (u64 round = 0; round < rounds; ++round) {
    const bool writes = round % 2;
    set_up(writes);
    fill(writes ? kWritten : 0);
    const u16 count = twice ? kRequests - 1 : kRequests;
    for (u16 i = 0; i < count; ++i) queue.offer(i);
    if (twice) queue.offer(u16(count - 1));
    queue.ring();
    if (twice)
      while (!disk.needs_reset()) asm volatile("pause");
    else
      wait(random() % kTicksOfAMoment);
    in_flight += u16(count - used_index());

    disk.restart();  // waits until the status reads 0
    release_down_to(heap_before);
    fill(u8(kGone));
    wait(kTicksOfAMoment);
    check_untouched();
  }
  if (in_flight < (twice ? 1 : rounds * kRequests / 10)) fail("most requests had ended before the reset");
  print("in flight: ", in_flight, " requests at ", rounds, " resets\n");
}

}  // namespace payload
