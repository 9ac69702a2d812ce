// SPDX-License-Identifier: Apache-2.0
// Reads or writes the first disk at random for some time, as fast as it will go: at CPL 3, polling, with as
// many requests in flight as asked for. On the kernel command line, each with a number:
//
//   depth   requests in flight, of each queue         bytes   of a request
//   queues  how many; one vCPU serves them in turn    write   1: writes
//   ticks   of the TSC, how long to measure           warmup  the same, beforehand
//   latency 1: says how long a request takes, where there is one in flight: the median, the 99th of a hundred
//   and
//           the 999th of a thousand, in ticks
//   verify  1: each sector begins with its own number, as u64: reads check that, writes keep it so
#include <linux/virtio_blk.h>

#include "virtio.h"

namespace payload {
namespace {

constexpr u32 kSector = 512;
constexpr u32 kBuffersPerRequest = 3;
constexpr u64 kDataStart = 16_MiB;  // behind the payload; the boot data are below 1 MiB
constexpr u16 kMaxQueues = 4;
constexpr u16 kMaxRingSize = 256;

struct Load {
  u32 depth, queues, bytes;
  bool write, verify;
  u64 blocks;  // of the disk, `bytes` each
};

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

struct alignas(64) Request {
  virtio_blk_outhdr header;
  u8 status;
  u8* data;
};

class LoadedQueue {
 public:
  LoadedQueue() = default;
  LoadedQueue(const VirtQueue& ring, const Load& load, u64 data)
      : load_(load),
        size_(ring.size()),
        index_(ring.index()),
        doorbell_(ring.doorbell()),
        available_(reinterpret_cast<vring_avail*>(ring.available())),
        used_(reinterpret_cast<volatile vring_used*>(ring.used())),
        requests_(static_cast<Request*>(allocate(sizeof(Request) * load.depth, alignof(Request)))),
        random_(0x9e37'79b9'7f4a'7c15 * (ring.index() + 1u)) {
    if (load.depth * kBuffersPerRequest > size_) fail("the queue has ", u32{size_}, " entries");
    auto* const descriptors = reinterpret_cast<vring_desc*>(ring.descriptors());
    const u16 device_writes = load.write ? 0 : VRING_DESC_F_WRITE;
    for (u32 i = 0; i < load.depth; ++i) {
      Request& request = requests_[i];
      request.data = reinterpret_cast<u8*>(data + u64{i} * load.bytes);
      request.header.type = load.write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
      const u16 first = u16(i * kBuffersPerRequest);
      descriptors[first] = {reinterpret_cast<u64>(&request.header), sizeof request.header, VRING_DESC_F_NEXT,
                            u16(first + 1)};
      descriptors[first + 1] = {reinterpret_cast<u64>(request.data), load.bytes,
                                u16(device_writes | VRING_DESC_F_NEXT), u16(first + 2)};
      descriptors[first + 2] = {reinterpret_cast<u64>(&request.status), 1, VRING_DESC_F_WRITE, 0};
    }
  }

  void start() {
    for (u32 i = 0; i < load_.depth; ++i) make_available(i);
    publish();
  }

  // Makes new requests of those that the device is done with; returns how many.
  u32 turn(bool again = true) {
    const u16 end = used_->idx;
    const u32 done = u16(end - seen_);
    if (done == 0) return 0;
    barrier();
    for (; seen_ != end; ++seen_) {
      const u32 number = used_->ring[seen_ % size_].id / kBuffersPerRequest;
      const Request& request = requests_[number];
      if (request.status != VIRTIO_BLK_S_OK) fail("status ", u32{request.status});
      if (load_.verify && !load_.write) check(request);
      if (again) make_available(number);
    }
    // Always just behind, where no further entry makes the device interrupt (virtio 1.2, 2.7.7).
    *reinterpret_cast<volatile u16*>(&available_->ring[size_]) = u16(seen_ - 1);
    if (again) publish();
    return done;
  }

  bool idle() const { return seen_ == next_; }
  u64 kicks() const { return kicks_; }

 private:
  void make_available(u32 number) {
    Request& request = requests_[number];
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const u64 block = (random_ >> 32) * load_.blocks >> 32;
    request.header.sector = block * (load_.bytes / kSector);
    request.status = 0xff;
    if (load_.verify && load_.write)
      for (u32 at = 0; at < load_.bytes; at += kSector) number_at(request, at) = expected(request, at);
    available_->ring[next_ % size_] = u16(number * kBuffersPerRequest);
    ++next_;
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

  static u64& number_at(const Request& request, u32 at) { return *reinterpret_cast<u64*>(request.data + at); }
  static u64 expected(const Request& request, u32 at) { return request.header.sector + at / kSector; }
  void check(const Request& request) {
    for (u32 at = 0; at < load_.bytes; at += kSector) {
      const u64 found = number_at(request, at);
      if (found != expected(request, at)) fail("sector ", expected(request, at), " begins with ", found);
      number_at(request, at) = ~u64{0};
    }
  }

  Load load_{};
  u16 size_ = 0;
  u16 index_ = 0;
  u16 next_ = 0;  // the available ring's index
  u16 seen_ = 0;  // the used ring's
  u64 doorbell_ = 0;
  vring_avail* available_ = nullptr;
  volatile vring_used* used_ = nullptr;
  Request* requests_ = nullptr;
  u64 random_ = 0;
  u64 kicks_ = 0;
};

struct Sum {
  u64 requests = 0, ticks = 0, kicks = 0;
};

// How often a request took so long, to 2^kShift ticks; the last bucket has those that took longer.
class Times {
 public:
  void add(u64 time) {
    const u64 bucket = time >> kShift;
    ++counts_[bucket < kBuckets ? bucket : kBuckets - 1];
    ++total_;
  }
  void reset() {  // and has the memory at hand
    for (u32& count : counts_) count = 0;
    total_ = 0;
  }
  // What all but one of `of` stayed below.
  u64 all_but_one(u64 of) const {
    u64 above = total_ / of;
    u32 bucket = kBuckets - 1;
    for (; bucket > 0 && counts_[bucket] <= above; --bucket) above -= counts_[bucket];
    return u64{bucket + 1} << kShift;
  }

 private:
  static constexpr u32 kShift = 7, kBuckets = 1 << 16;  // to 2^23 ticks: some milliseconds
  u32 counts_[kBuckets] = {};
  u64 total_ = 0;
};

Sum keep_going(LoadedQueue* queues, u32 count, u64 duration, Times* times = nullptr) {
  Sum sum;
  for (u32 i = 0; i < count; ++i) sum.kicks -= queues[i].kicks();
  const u64 start = ticks();
  u64 last = 0;
  while (sum.ticks < duration) {
    u32 done = 0;
    for (u32 i = 0; i < count; ++i) done += queues[i].turn();
    sum.requests += done;
    sum.ticks = ticks() - start;
    if (!times || done == 0) continue;
    times->add(sum.ticks - last);
    last = sum.ticks;
  }
  for (u32 i = 0; i < count; ++i) sum.kicks += queues[i].kicks();
  return sum;
}

void check_memory(u64 end) {
  for (u32 i = 0; i < memory_range_count(); ++i) {
    const MemoryRange range = memory_range(i);
    if (range.ram && range.start <= kDataStart && range.start + range.bytes >= end) return;
  }
  fail("too little memory");
}

}  // namespace

void run() {
  Load load{.depth = u32(parameter("depth", 1)),
            .queues = u32(parameter("queues", 1)),
            .bytes = u32(parameter("bytes", 4096)),
            .write = parameter("write", 0) != 0,
            .verify = parameter("verify", 0) != 0,
            .blocks = 0};
  const u64 duration = parameter("ticks", 100'000'000);
  const u64 warmup = parameter("warmup", 0);
  if (load.queues > kMaxQueues) fail("at most ", u32{kMaxQueues}, " queues");
  const u64 bytes_of_queue = u64{load.depth} * load.bytes;
  check_memory(kDataStart + load.queues * bytes_of_queue);

  VirtioDevice device;
  if (!device.open(VIRTIO_ID_BLOCK)) fail("no disk");
  device.negotiate(feature(VIRTIO_RING_F_EVENT_IDX) | feature(VIRTIO_BLK_F_FLUSH) | feature(VIRTIO_BLK_F_MQ));
  load.blocks = device.config<u64>(0) * kSector / load.bytes;
  static LoadedQueue queues[kMaxQueues];
  for (u16 i = 0; i < load.queues; ++i)
    queues[i] = LoadedQueue(device.set_up_queue(i, kMaxRingSize), load, kDataStart + i * bytes_of_queue);
  device.driver_ok();

  leave_kernel_mode();
  for (u32 i = 0; i < load.queues; ++i) queues[i].start();
  u64 all = keep_going(queues, load.queues, warmup).requests;
  print("start\n");
  static Times times;
  const bool latency = parameter("latency", 0) != 0 && load.depth * load.queues == 1;
  times.reset();
  const Sum sum = keep_going(queues, load.queues, duration, latency ? &times : nullptr);
  print("requests ", sum.requests, " ticks ", sum.ticks, " kicks ", sum.kicks, "\n");
  if (latency) {
    print("latency ", times.all_but_one(2), " ", times.all_but_one(100), " ", times.all_but_one(1000), "\n");
    all += keep_going(queues, load.queues, warmup).requests;  // until whoever measures from outside has read that
  }
  all += sum.requests;
  for (u32 i = 0; i < load.queues; ++i)
    while (!queues[i].idle()) all += queues[i].turn(false);
  print("block_speed: ok, ", all, " requests\n");
}

}  // namespace payload
