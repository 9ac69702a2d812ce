// SPDX-License-Identifier: Apache-2.0
// Reads and writes a disk while another vCPU changes what the device reads, as fast as it can. On the kernel
// command line: requests=N, and header=1 to change the requests' headers in place of their descriptors.
//
// The disk has 32 sectors, each filled with its number; every request is about the first eight or the next.
#include <linux/virtio_blk.h>

#include "cpu.h"
#include "random.h"
#include "virtio.h"

namespace payload {
namespace {

constexpr u32 kSector = 512, kBytes = 8 * kSector;
constexpr u64 kMostRequests = 1'000'000;  // to meet the attacker, who may have to wait for a processor
constexpr u8 kUntouched = 0xee, kWritten = 0x77;

// Two buffers for data, and what no request may touch around them.
struct Memory {
  alignas(kPageSize) u8 before[kPageSize];
  u8 first[kBytes];
  u8 between[kPageSize];
  u8 second[kBytes];
  u8 behind[kPageSize];
};
Memory memory;
struct {
  virtio_blk_outhdr header;
  u8 status;
} request;

VirtQueue queue;
constexpr vring_desc data_of(const void* buffer, u32 bytes, u16 flags) {
  return {reinterpret_cast<u64>(buffer), bytes, flags, 2};
}

// What the attacker works on. Ended by `stop`, which it answers.
volatile bool stop = false, stopped = false;
volatile u64 flips = 0;
vring_desc* volatile target = nullptr;

void flip_descriptors() {
  constexpr u64 kAddresses[] = {~u64{0}, ~u64{0} - kBytes, layout::kPciWindow.start, 64_MiB - 16};
  constexpr u32 kLengths[] = {0, 1, kSector, ~u32{0}, 0x8000'0000};
  constexpr u16 kFlags[] = {0, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, VRING_DESC_F_INDIRECT, 0xffff};
  constexpr u16 kNexts[] = {0, 1, 3, 64, 0xffff};
  while (!target) asm volatile("pause");
  while (!stop) {
    flips = flips + 2;
    volatile vring_desc& data = *target;
    const vring_desc good = data_of(memory.first, kBytes, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
    switch (random() % 8) {
      case 0:
        data.addr = kAddresses[random() % 4];
        break;
      case 1:
        data.len = kLengths[random() % 5];
        break;
      case 2:
        data.flags = kFlags[random() % 5];
        break;
      case 3:
        data.next = kNexts[random() % 5];
        break;
      default:  // the other buffer, which is shorter
        data.addr = reinterpret_cast<u64>(memory.second);
        data.len = kSector;
    }
    wait_a_little();
    data.addr = good.addr;
    data.len = good.len;
    data.flags = good.flags;
    data.next = good.next;
    wait_a_little();
  }
  stopped = true;
}

void flip_header() {
  constexpr u32 kTypes[] = {
      VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_OUT,    VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,
      VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_WRITE_ZEROES, ~u32{0}};
  constexpr u64 kSectors[] = {0, 8, 0, 8, 25, 32, u64{1} << 55, ~u64{0}};
  volatile virtio_blk_outhdr& header = request.header;
  while (!stop) {
    flips = flips + 1;
    if (random() % 2)
      header.type = kTypes[random() % 8];
    else
      header.sector = kSectors[random() % 8];
    wait_a_little();
  }
  stopped = true;
}

bool all(const u8* bytes, u32 count, u8 value) {
  for (u32 i = 0; i < count; ++i)
    if (bytes[i] != value) return false;
  return true;
}

// Whether the buffer has one run of eight sectors, whole.
bool is_one_read() {
  const u8 base = memory.first[0];
  if (base == kWritten) return all(memory.first, kBytes, kWritten);
  if (base != 0 && base != 8) return false;
  for (u32 i = 0; i < 8; ++i)
    if (!all(memory.first + i * kSector, kSector, u8(base + i))) return false;
  return true;
}

void check_surroundings() {
  if (!all(memory.before, kPageSize, kUntouched) || !all(memory.between, kPageSize, kUntouched) ||
      !all(memory.behind, kPageSize, kUntouched))
    fail("memory beside the buffers has changed");
}

VirtioDevice disk;
std::size_t heap_before = 0;

void set_up() {
  release_down_to(heap_before);
  disk.negotiate(feature(VIRTIO_BLK_F_FLUSH) | feature(VIRTIO_BLK_F_DISCARD) |
                 feature(VIRTIO_BLK_F_WRITE_ZEROES) | feature(VIRTIO_RING_F_INDIRECT_DESC));
  queue = disk.set_up_queue(0, 4);
  queue.descriptor(0) = {reinterpret_cast<u64>(&request.header), sizeof request.header, VRING_DESC_F_NEXT, 1};
  queue.descriptor(1) = data_of(memory.first, kBytes, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
  queue.descriptor(2) = {reinterpret_cast<u64>(&request.status), 1, VRING_DESC_F_WRITE, 0};
  target = &queue.descriptor(1);
  disk.driver_ok();
}

// Whether the device answered; else it wants to be reset.
bool transfer(vring_used_elem& entry) {
  *const_cast<volatile u8*>(&request.status) = 0xff;
  queue.offer(0);
  queue.ring();
  while (!queue.take(entry)) {
    if (disk.needs_reset()) return false;
    asm volatile("pause");
  }
  return true;
}

u64 served = 0, errors = 0, resets = 0, in_place = 0;

void try_descriptors(u64 count) {
  for (u64 i = 0; i < count || (errors + resets == 0 && i < kMostRequests); ++i) {
    vring_used_elem entry;
    if (transfer(entry)) {
      if (entry.id != 0) fail("head ", entry.id, " was never offered");
      ++served;
      errors += *const_cast<volatile u8*>(&request.status) != VIRTIO_BLK_S_OK;
    } else {
      ++resets;
      disk.restart();
      set_up();
    }
    if (i % 64 == 0) check_surroundings();
  }
  if (errors + resets == 0) fail("no request met a change");
}

void try_headers(u64 count) {
  for (u64 i = 0; i < count || (in_place == 0 && i < kMostRequests); ++i) {
    const bool writes = i % 2;
    memset(memory.first, writes ? kWritten : kUntouched, kBytes);
    target->flags = u16(VRING_DESC_F_NEXT | (writes ? 0 : VRING_DESC_F_WRITE));
    vring_used_elem entry;
    if (!transfer(entry)) fail("the device needs a reset");
    const u8 status = *const_cast<volatile u8*>(&request.status);
    if (status > VIRTIO_BLK_S_UNSUPP) fail("status ", u32{status});
    if (writes && !all(memory.first, kBytes, kWritten)) fail("a buffer to read from has changed");
    if (!writes && entry.len == kBytes + 1) {
      if (status != VIRTIO_BLK_S_OK || !is_one_read()) fail("a read is of two places");
      ++in_place;
    }
    ++served;
    errors += status != VIRTIO_BLK_S_OK;
  }
  if (in_place == 0) fail("no read was served");
}

}  // namespace

void run() {
  memset(&memory, kUntouched, sizeof memory);
  if (!disk.open(VIRTIO_ID_BLOCK)) fail("no disk");
  print("flips\n");
  const bool header = parameter("header", 0);
  const u64 count = parameter("requests", 1000);
  start_cpu(1, header ? flip_header : flip_descriptors);
  heap_before = allocated();
  set_up();
  leave_kernel_mode();
  header ? try_headers(count) : try_descriptors(count);
  stop = true;
  while (!stopped) asm volatile("pause");
  check_surroundings();

  // And it still works.
  disk.restart();
  set_up();
  request.header = {.type = VIRTIO_BLK_T_IN, .ioprio = 0, .sector = 0};
  vring_used_elem entry;
  if (!transfer(entry) || entry.len != kBytes + 1 || !is_one_read()) fail("the disk works no more");
  print("flips: ", served, " served, ", errors, " errors, ", resets, " resets, ", u64{flips}, " flips\n");
}

}  // namespace payload
