// SPDX-License-Identifier: Apache-2.0
// How long a disk takes for a sector, at rest and while another device is stormed, by turns. On the kernel
// command line:
//
//   rounds    of both, each of `requests` reads
//   rng       1: the storm is a full queue of the largest requests for entropy, else it is another vCPU that
//   rings
//             the doorbell of a second disk, whose queue is empty; when it is quiet that one spins
//
// Prints the tenth and the 99th of a hundred, in ticks of the TSC, for each round: "quiet 10 99 storm 10 99".
#include <linux/virtio_blk.h>

#include "cpu.h"
#include "virtio.h"

namespace payload {
namespace {

constexpr u32 kMostRequests = 4096;
constexpr u64 kRandomBytes = 16_MiB;  // where the entropy goes
constexpr u32 kRandomRequestBytes = 64_KiB;

VirtioDevice disk, victim;
VirtQueue queue, stormed;
volatile bool storming = false;
volatile u64 storms = 0;

void ring_without_end() {
  for (;;) {
    if (!storming) {
      asm volatile("pause");
      continue;
    }
    stormed.ring();
    storms = storms + 1;
  }
}

// All of the queue, always: what the device has done is asked for anew.
void ask() {
  static bool begun = false;
  for (u16 i = 0; i < stormed.size() && !begun; ++i) {
    stormed.descriptor(i) = {kRandomBytes + u64{i} * kRandomRequestBytes, kRandomRequestBytes,
                             VRING_DESC_F_WRITE, 0};
    stormed.offer(i);
  }
  begun = true;
  for (vring_used_elem entry; stormed.take(entry);) {
    stormed.offer(u16(entry.id));
    storms = storms + 1;
  }
  stormed.ring();
}

// Until the device has done all of it.
void await_rest() {
  u32 done = 0;
  for (vring_used_elem entry; done < stormed.size();) {
    if (!stormed.take(entry)) continue;
    stormed.offer(u16(entry.id));  // without ringing: the next storm does
    ++done;
  }
}

u32 times[kMostRequests];

void sort(u32 count) {
  for (u32 i = 1; i < count; ++i) {
    const u32 value = times[i];
    u32 at = i;
    for (; at > 0 && times[at - 1] > value; --at) times[at] = times[at - 1];
    times[at] = value;
  }
}

void measure(const char* name, u32 count, bool asking) {
  static virtio_blk_outhdr header;
  static u8 sector[512], status;
  for (u32 i = 0; i < count; ++i) {
    if (asking) ask();
    header = {.type = VIRTIO_BLK_T_IN, .ioprio = 0, .sector = 0};
    const u64 start = __builtin_ia32_rdtsc();
    const u32 got =
        queue.transfer({{&header, sizeof header, false}, {sector, sizeof sector, true}, {&status, 1, true}});
    times[i] = u32(__builtin_ia32_rdtsc() - start);
    if (got != sizeof sector + 1) fail("a read failed");
  }
  sort(count);
  print(name, times[count / 10], " ", times[count - count / 100 - 1]);
}

}  // namespace

void run() {
  const bool rng = parameter("rng", 0) != 0;
  const u32 requests = u32(parameter("requests", 100));
  if (requests > kMostRequests) fail("too many requests");
  print("latency\n");
  if (!disk.open(VIRTIO_ID_BLOCK)) fail("no disk");
  disk.negotiate(0);
  queue = disk.set_up_queue(0);
  disk.driver_ok();
  if (!(rng ? victim.open(VIRTIO_ID_RNG) : victim.open(VIRTIO_ID_BLOCK, 1))) fail("nothing to storm");
  victim.negotiate(0);
  stormed = victim.set_up_queue(0);
  victim.driver_ok();

  if (!rng) start_cpu(1, ring_without_end);
  const u64 rounds = parameter("rounds", 1);
  leave_kernel_mode();
  for (u64 round = 0; round < rounds; ++round) {
    measure("quiet ", requests, false);
    storming = true;
    measure(" storm ", requests, rng);
    storming = false;
    print("\n");
    if (rng) await_rest();
  }
  if (storms == 0) fail("there was no storm");
  print("storms ", u64{storms}, "\n");
}

}  // namespace payload
