// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a disk, a driver that asks for anything, and a host that answers anything. The input is a
// small program: each step offers a request, ends a host operation, or turns. Whatever happens: no host
// operation outside of the disk, misaligned, or against a read-only disk; and in the end every request has
// its answer.
#include <map>

#include "devices/block.h"
#include "tests/fakes/fake_io.h"
#include "tests/fuzz/fuzz.h"

using namespace uvmm;

namespace {

constexpr u64 kSectors = 64;
constexpr u16 kRing = 64;

struct World {
  World(FuzzedDataProvider& choices, FakeRam& ram)
      : input(choices),
        read_only(input.ConsumeBool()),
        direct(input.ConsumeBool()),
        driver(ram, kRing),
        block(io, DiskImage(Fd(), "fuzz", read_only, geometry()), {.serial = "serial"}, log) {
    const u64 optional = feature(VIRTIO_BLK_F_FLUSH) | feature(VIRTIO_BLK_F_DISCARD) |
                         feature(VIRTIO_BLK_F_WRITE_ZEROES) | feature(VIRTIO_BLK_F_BLK_SIZE);
    features = block.features() & (input.ConsumeBool() ? optional : input.ConsumeIntegral<u64>());
    block.start(features);
    tasks.spawn(block.run(queue.queue, 0));
  }

  DiskImage::Geometry geometry() const {
    DiskImage::Geometry geometry{.bytes = kSectors * kSectorSize, .can_discard = true};
    if (direct) geometry.memory_alignment = 512;
    return geometry;
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 5)) {
      case 0:
      case 1:
      case 2:
        offer();
        break;
      case 3:
      case 4:
        if (!io.empty()) end_one();
        break;
      default:
        queue.queue.notify();
        io.end_turn();
        break;
    }
    check_operations();
    collect();
  }

  // The driver resets the device at some moment: everything ends.
  void finish() {
    const bool cancel = input.ConsumeBool();
    if (cancel) {
      queue.queue.stop();
      block.io().cancel_all();
    }
    const bool drained = io.drain([this] {
      check_operations();
      end_one();
      collect();
    });
    require(drained);
    if (!cancel && !queue.queue.stopped()) queue.queue.stop();
    require(tasks.empty());
    io.end_turn();
    collect();
    require(queue.queue.chains_out() == 0);
  }

 private:
  u64 buffer() {
    switch (input.ConsumeIntegralInRange(0, 4)) {
      case 0:
        return FakeRam::kEnd - input.ConsumeIntegral<u16>();
      case 1:
        return FakeRam::kBoundary - input.ConsumeIntegral<u16>();
      case 2:
        return FakeRam::kBoundary + input.ConsumeIntegral<u8>();
      default:
        return FakeRam::kBoundary + input.ConsumeIntegralInRange<u64>(1, 200) * 512;
    }
  }
  u32 length() {
    return input.ConsumeBool() ? input.ConsumeIntegralInRange<u32>(0, 9) * 512 : input.ConsumeIntegral<u16>();
  }

  void offer() {
    static constexpr u32 kTypes[] = {VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,          VIRTIO_BLK_T_FLUSH,
                                     VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_GET_ID};
    if (offered_descriptors + 8 > kRing || used_bytes > 900_KiB) return;
    const virtio_blk_outhdr header{
        .type = input.ConsumeBool() ? input.PickValueInArray(kTypes) : input.ConsumeIntegral<u32>(),
        .ioprio = 0,
        .sector = input.ConsumeBool() ? input.ConsumeIntegralInRange<u64>(0, kSectors + 1)
                                      : input.ConsumeIntegral<u64>()};
    auto chain = driver.chain();
    u16 descriptors = 1;
    const bool has_header = input.ConsumeIntegralInRange(0, 15) > 0;
    if (has_header) {
      chain.reads(header);
    } else {
      chain.reads_at(buffer(), length());
    }
    for (int i = input.ConsumeIntegralInRange(0, 2); i > 0; --i, ++descriptors) {
      if (header.type == VIRTIO_BLK_T_DISCARD || header.type == VIRTIO_BLK_T_WRITE_ZEROES) {
        chain.reads(
            virtio_blk_discard_write_zeroes{.sector = input.ConsumeIntegralInRange<u64>(0, kSectors),
                                            .num_sectors = input.ConsumeIntegralInRange<u32>(0, kSectors + 1),
                                            .flags = input.ConsumeIntegralInRange<u32>(0, 2)});
      } else {
        chain.reads_at(buffer(), length());
      }
    }
    for (int i = input.ConsumeIntegralInRange(0, 2); i > 0; --i, ++descriptors) {
      chain.writes_at(buffer(), length());
    }
    const bool has_status = input.ConsumeIntegralInRange(0, 15) > 0;
    if (has_status) chain.writes(1);
    const auto at = chain.offer();
    used_bytes += 64;
    descriptors += has_status;
    const u16 head = driver.avail_ring(u16(driver.avail_index() - 1) & (kRing - 1));
    offered_descriptors += descriptors;
    const bool changes_disk = header.type == VIRTIO_BLK_T_OUT || header.type == VIRTIO_BLK_T_DISCARD ||
                              header.type == VIRTIO_BLK_T_WRITE_ZEROES;
    outstanding[head] = {descriptors, has_status ? at.back() : guest(0), has_header && changes_disk};
  }

  void end_one() {
    static constexpr i32 kErrors[] = {-EIO,    -ENOSPC,    -EAGAIN,     -ENOMEM, -EINTR,
                                      -EINVAL, -ECANCELED, -EOPNOTSUPP, 0};
    const u32 i = input.ConsumeIntegralInRange<u32>(0, io.size() - 1);
    const Op& op = io.pending(i);
    const bool moves = op.kind == Op::Kind::kReadv || op.kind == Op::Kind::kWritev;
    const i32 whole = moves ? static_cast<i32>(io.length_of(i)) : 0;
    i32 result = whole;
    if (input.ConsumeIntegralInRange(0, 3) == 0) result = input.PickValueInArray(kErrors);
    if (moves && input.ConsumeIntegralInRange(0, 3) == 0) result = input.ConsumeIntegralInRange(0, whole);
    const bool untried = result == -ECANCELED || result == -EINTR || result == -EAGAIN;
    if (op.kind == Op::Kind::kFdatasync && result < 0 && !untried) lost = true;
    io.finish(i, result);
  }

  void check_operations() {
    u32 syncs = 0;
    for (u32 i = 0; i < io.size(); ++i) {
      const Op& op = io.pending(i);
      syncs += op.kind == Op::Kind::kFdatasync;
      require(syncs <= 1);  // or a loss could go by
      const bool moves = op.kind == Op::Kind::kReadv || op.kind == Op::Kind::kWritev;
      if (!moves && op.kind != Op::Kind::kFallocate) continue;
      const u64 bytes = moves ? io.length_of(i) : op.length;
      require(bytes > 0 && op.offset <= kSectors * kSectorSize);
      require(bytes <= kSectors * kSectorSize - op.offset);
      require(!read_only || op.kind == Op::Kind::kReadv);
      if (moves && direct) check_alignment(op);
    }
  }
  static void check_alignment(const Op& op) {
    require(op.offset % 512 == 0);
    const auto* const pieces = static_cast<const iovec*>(op.address);
    for (u32 k = 0; k < op.count; ++k) {
      require(reinterpret_cast<u64>(pieces[k].iov_base) % 512 == 0 && pieces[k].iov_len % 512 == 0);
    }
  }

  void collect() {
    while (const auto used = driver.take_used()) {
      const auto request = outstanding.find(static_cast<u16>(used->id));
      require(request != outstanding.end());
      if (request->second.status != guest(0)) {
        const u8 status = *driver.memory.read<u8>(request->second.status);
        require(status <= VIRTIO_BLK_S_UNSUPP);
        const bool write_through = !has_feature(features, VIRTIO_BLK_F_FLUSH);
        require(!(lost && write_through && request->second.changes_disk && status == VIRTIO_BLK_S_OK));
      }
      offered_descriptors = static_cast<u16>(offered_descriptors - request->second.descriptors);
      outstanding.erase(request);
    }
  }

  struct Request {
    u16 descriptors;
    GuestAddress status;
    bool changes_disk;  // for certain
  };

  FuzzedDataProvider& input;
  const bool read_only;
  const bool direct;
  u64 features = 0;
  Log log;
  FakeIo io;
  FakeDriver driver;
  Block block;
  FakeQueue queue{block.io(), driver};
  TaskScope tasks;
  std::map<u16, Request> outstanding;
  bool lost = false;  // as a failed fdatasync said
  u16 offered_descriptors = 0;
  u64 used_bytes = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run_program<World>(data, size);
  return 0;
}
