// SPDX-License-Identifier: Apache-2.0
// BlockFixture: a block device on the fakes, for its tests.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "devices/block.h"
#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {

inline constexpr u64 kSectors = 64;
inline constexpr u64 kAll = FakeDriver::kAllFeatures | feature(VIRTIO_BLK_F_FLUSH) |
                            feature(VIRTIO_BLK_F_DISCARD) | feature(VIRTIO_BLK_F_WRITE_ZEROES);
inline constexpr u8 kUntouched = FakeRam::kFill;

inline DiskImage::Geometry geometry_of(u64 sectors) {
  return {.bytes = sectors * kSectorSize, .can_discard = true};
}

// A disk of kSectors, and one queue that a driver has started. Requests are served by kick().
struct BlockFixture {
  explicit BlockFixture(u64 features = kAll, bool read_only = false,
                        const DiskImage::Geometry& geometry = geometry_of(kSectors))
      : block(io, DiskImage(Fd(), "a.img", read_only, geometry), {.serial = "0123456789", .queues = 2}, log) {
    block.start(features);
    tasks.spawn(block.run(queue.queue, 0));
  }
  ~BlockFixture() {
    queue.queue.stop();
    for (int turns = 0; !io.empty() && turns < 1000; ++turns) io.finish_all(-ECANCELED);
    CHECK(tasks.empty());
  }

  void kick() {
    queue.queue.notify();
    io.end_turn();
  }
  static virtio_blk_outhdr header(u32 type, u64 sector = 0) { return {.type = type, .sector = sector}; }

  // Offer a request and serve it; the status byte's place.
  GuestAddress read(u64 sector, u32 bytes) {
    const auto at = driver.chain().reads(header(VIRTIO_BLK_T_IN, sector)).writes(bytes).writes(1).offer();
    kick();
    return at.back();
  }
  GuestAddress write(u64 sector, u32 bytes) {
    const std::vector<u8> data(bytes, 'w');
    const auto at = driver.chain()
                        .reads(header(VIRTIO_BLK_T_OUT, sector))
                        .reads(std::span<const u8>(data))
                        .writes(1)
                        .offer();
    kick();
    return at.back();
  }
  GuestAddress flush() {
    const auto at = driver.chain().reads(header(VIRTIO_BLK_T_FLUSH)).writes(1).offer();
    kick();
    return at.back();
  }
  GuestAddress clear(u32 type, const std::vector<virtio_blk_discard_write_zeroes>& ranges) {
    const auto* const bytes = reinterpret_cast<const u8*>(ranges.data());
    const auto at = driver.chain()
                        .reads(header(type))
                        .reads(std::span<const u8>(bytes, ranges.size() * sizeof(ranges[0])))
                        .writes(1)
                        .offer();
    kick();
    return at.back();
  }
  u8 byte(GuestAddress at) { return *driver.memory.read<u8>(at); }
  // What it asked of the host ends so; it is answered only once that is on disk.
  void finish_durably(i32 result, GuestAddress status) {
    io.finish(0, result);
    REQUIRE(io.size() == 1);
    CHECK(io.pending(0).kind == Op::Kind::kFdatasync);
    CHECK(byte(status) == kUntouched);
    io.finish(0, 0);
    CHECK(byte(status) == VIRTIO_BLK_S_OK);
  }

  std::vector<std::string> lines;
  Log log{[this](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning};
  FakeIo io;
  FakeDriver driver{64};
  Block block;
  FakeQueue queue{block.io(), driver};
  TaskScope tasks;
};

}  // namespace uvmm
