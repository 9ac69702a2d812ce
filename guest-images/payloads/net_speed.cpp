// SPDX-License-Identifier: Apache-2.0
// Sends or receives frames through the first network device for some time, as fast as it will go: at CPL 3,
// polling. On the kernel command line, each with a number:
//
//   receive  1: receives, else it sends      depth   frames on their way, or buffers posted
//   bytes    of a frame                      large   1: negotiates TSO, so that a frame may have 64 KiB
//   ticks    of the TSC, how long to measure
#include "virtio.h"

#define class class_  // a field's name in there
#include <linux/virtio_net.h>
#undef class

namespace payload {
namespace {

constexpr u16 kReceiveQueue = 0;
constexpr u16 kTransmitQueue = 1;
constexpr u64 kDataStart = 16_MiB;  // behind the payload; the boot data are below 1 MiB
constexpr u16 kMaxRingSize = 256;
constexpr u32 kHeaderBytes = sizeof(virtio_net_hdr_v1);

u64 ticks() {
  return __builtin_ia32_rdtsc();
}

void barrier() {
  asm volatile("" : : : "memory");
}
// Stores are seen before what is loaded next.
void full_barrier() {
  asm volatile("lock orl $0, (%%rsp)" : : : "memory");
}

// A ring of buffers of one descriptor, that all go round and round.
class Ring {
 public:
  Ring(const VirtQueue& ring, u32 depth, u32 bytes, bool device_writes)
      : size_(ring.size()),
        index_(ring.index()),
        doorbell_(ring.doorbell()),
        available_(reinterpret_cast<vring_avail*>(ring.available())),
        used_(reinterpret_cast<volatile vring_used*>(ring.used())) {
    if (depth > size_) fail("the queue has ", u32{size_}, " entries");
    auto* const descriptors = reinterpret_cast<vring_desc*>(ring.descriptors());
    const u32 room = u32(align_up(kHeaderBytes + bytes, 64));
    for (u32 i = 0; i < depth; ++i) {
      descriptors[i] = {kDataStart + u64{i} * room, kHeaderBytes + bytes,
                        u16(device_writes ? VRING_DESC_F_WRITE : 0), 0};
      available_->ring[i] = u16(i);
    }
    next_ = u16(depth);
  }

  u8* buffer(u32 i, u32 bytes) const {
    return reinterpret_cast<u8*>(kDataStart + u64{i} * align_up(kHeaderBytes + bytes, 64));
  }

  // virtio 1.2, 2.7.13: the entries first, then their index, then whether the device wants to know.
  void publish() {
    barrier();
    const u16 before = available_->idx;
    *const_cast<volatile u16*>(&available_->idx) = next_;
    full_barrier();
    const u16 event = *reinterpret_cast<const volatile u16*>(&used_->ring[size_]);
    if (!vring_need_event(event, next_, before)) return;
    ++kicks_;
    mmio_write(doorbell_, index_);
  }

  // Offers anew what the device is done with; how many that were, and how many bytes it wrote.
  u32 turn(u64& bytes) {
    const u16 end = used_->idx;
    const u32 done = u16(end - seen_);
    if (done == 0) return 0;
    barrier();
    for (; seen_ != end; ++seen_) {
      bytes += used_->ring[seen_ % size_].len;
      available_->ring[next_ % size_] = u16(used_->ring[seen_ % size_].id);
      ++next_;
    }
    // Always just behind, where no further entry makes the device interrupt (virtio 1.2, 2.7.7).
    *reinterpret_cast<volatile u16*>(&available_->ring[size_]) = u16(seen_ - 1);
    publish();
    return done;
  }

  u64 kicks() const { return kicks_; }

 private:
  u16 size_;
  u16 index_;
  u16 next_ = 0;  // the available ring's index
  u16 seen_ = 0;  // the used ring's
  u64 doorbell_;
  vring_avail* available_;
  volatile vring_used* used_;
  u64 kicks_ = 0;
};

// To everyone, of a type that nobody serves.
void write_frame(u8* frame) {
  memset(frame, 0, kHeaderBytes);
  memset(frame + kHeaderBytes, 0xff, 6);
  frame[kHeaderBytes + 6] = 2;
  frame[kHeaderBytes + 12] = 0x88;
  frame[kHeaderBytes + 13] = 0xb5;
}

}  // namespace

void run() {
  const bool receive = parameter("receive", 0) != 0;
  const u32 depth = u32(parameter("depth", 128));
  const u32 bytes = u32(parameter("bytes", 1514));
  const u64 duration = parameter("ticks", 100'000'000);

  VirtioDevice device;
  if (!device.open(VIRTIO_ID_NET)) fail("no network device");
  u64 features = feature(VIRTIO_RING_F_EVENT_IDX) | feature(VIRTIO_NET_F_MRG_RXBUF);
  if (parameter("large", 0) != 0)
    features |= feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_TSO4);
  device.negotiate(features);
  const u16 index = receive ? kReceiveQueue : kTransmitQueue;
  Ring ring(device.set_up_queue(index, kMaxRingSize), depth, bytes, receive);
  for (u32 i = 0; i < depth && !receive; ++i) write_frame(ring.buffer(i, bytes));
  device.driver_ok();

  leave_kernel_mode();
  print("start\n");
  u64 frames = 0, received = 0;
  const u64 start = ticks();
  ring.publish();
  while (ticks() - start < duration) frames += ring.turn(received);
  print("frames ", frames, " bytes ", received, " ticks ", ticks() - start, " kicks ", ring.kicks(), "\n");
  print("net_speed: ok\n");
}

}  // namespace payload
