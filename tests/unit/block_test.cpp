// SPDX-License-Identifier: Apache-2.0
#include "devices/block.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

constexpr u64 kSectors = 64;
constexpr u64 kAll = FakeDriver::kAllFeatures | feature(VIRTIO_BLK_F_FLUSH) | feature(VIRTIO_BLK_F_DISCARD) |
                     feature(VIRTIO_BLK_F_WRITE_ZEROES);
constexpr u8 kUntouched = FakeRam::kFill;

DiskImage::Geometry geometry_of(u64 sectors) {
  return {.bytes = sectors * kSectorSize, .can_discard = true};
}

// A disk of kSectors, and one queue that a driver has started. Requests are served by kick().
struct Fixture {
  explicit Fixture(u64 features = kAll, bool read_only = false,
                   const DiskImage::Geometry& geometry = geometry_of(kSectors))
      : block(io, DiskImage(Fd(), "a.img", read_only, geometry), {.serial = "0123456789", .queues = 2}, log) {
    block.start(features);
    tasks.spawn(block.run(queue.queue, 0));
  }
  ~Fixture() {
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

TEST_CASE("block: the configuration says capacity, block size and segments") {
  Fixture f;
  virtio_blk_config config{};
  REQUIRE(f.block.config().size() == sizeof config);
  std::memcpy(&config, f.block.config().data(), sizeof config);
  CHECK(config.capacity == kSectors);
  CHECK(config.blk_size == 512);
  CHECK(config.seg_max == 254);
  CHECK(config.num_queues == 2);
  CHECK(config.max_discard_seg > 0);
  CHECK(config.max_write_zeroes_sectors > 0);
  CHECK(f.block.queue_sizes().size() == 2);
  CHECK(f.block.device_id() == 2);
}

TEST_CASE("block: a writable disk offers flush, discard and write zeroes") {
  Fixture f;
  CHECK(has_feature(f.block.features(), VIRTIO_BLK_F_FLUSH));
  CHECK(has_feature(f.block.features(), VIRTIO_BLK_F_DISCARD));
  CHECK(has_feature(f.block.features(), VIRTIO_BLK_F_WRITE_ZEROES));
  CHECK(has_feature(f.block.features(), VIRTIO_BLK_F_MQ));
  CHECK_FALSE(has_feature(f.block.features(), VIRTIO_BLK_F_RO));
}

TEST_CASE("block: a read-only disk offers RO and nothing that writes") {
  Fixture f(kAll, true);
  CHECK(has_feature(f.block.features(), VIRTIO_BLK_F_RO));
  CHECK_FALSE(has_feature(f.block.features(), VIRTIO_BLK_F_DISCARD));
  CHECK_FALSE(has_feature(f.block.features(), VIRTIO_BLK_F_WRITE_ZEROES));
}

TEST_CASE("block: a read of the last sector returns one sector and OK") {
  Fixture f;
  const auto status = f.read(kSectors - 1, 512);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).kind == Op::Kind::kReadv);
  CHECK(f.io.pending(0).offset == (kSectors - 1) * 512);
  f.io.finish(0, 512);
  CHECK(f.driver.take_used()->len == 513);
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: what a read finds lands in the guest's buffers") {
  Fixture f;
  const auto at =
      f.driver.chain().reads(Fixture::header(VIRTIO_BLK_T_IN)).writes(100).writes(412).writes(1).offer();
  f.kick();
  std::vector<u8> sector(512, 'a');
  sector[100] = 'b';
  f.io.finish_read(0, sector);
  CHECK(f.byte(at[1] + 99) == 'a');
  CHECK(f.byte(at[2]) == 'b');
}

TEST_CASE("block: a write sends the guest's bytes to their place") {
  Fixture f;
  const auto status = f.write(3, 1024);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).kind == Op::Kind::kWritev);
  CHECK(f.io.pending(0).offset == 3 * 512);
  CHECK(f.io.bytes_of(0) == std::vector<u8>(1024, 'w'));
  f.io.finish(0, 1024);
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
  CHECK(f.driver.take_used()->len == 1);
}

TEST_CASE("block: requests end in the order of the host, not of their arrival") {
  Fixture f;
  f.read(0, 512);
  f.read(1, 512);
  f.io.finish(1, 512);
  f.io.finish(0, 512);
  const auto first = f.driver.take_used();
  const auto second = f.driver.take_used();
  CHECK(first->id != second->id);
}

TEST_CASE("[case 53] block: a request that ends behind the disk fails without host I/O") {
  const auto [sector, bytes] = GENERATE(table<u64, u32>({{kSectors, 512},
                                                         {kSectors - 1, 1024},
                                                         {kSectors + 1, 512},
                                                         {u64{1} << 55, 512},
                                                         {~u64{0} >> 9, 1024},
                                                         {~u64{0}, 512}}));
  Fixture f;
  const auto read = f.read(sector, bytes);
  const auto write = f.write(sector, bytes);
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(read) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(write) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("[case 54] block: a length that is no multiple of a sector fails") {
  const u32 bytes = GENERATE(1u, 511u, 513u, 1000u);
  Fixture f;
  const auto read = f.read(0, bytes);
  const auto write = f.write(0, bytes);
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(read) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(write) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("[case 55] block: a read or write of nothing fails") {
  Fixture f;
  const auto in = f.driver.chain().reads(Fixture::header(VIRTIO_BLK_T_IN)).writes(1).offer();
  const auto out = f.driver.chain().reads(Fixture::header(VIRTIO_BLK_T_OUT)).writes(1).offer();
  f.kick();
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(in[1]) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(out[1]) == VIRTIO_BLK_S_IOERR);
  CHECK(f.driver.take_used()->len == 1);
}

TEST_CASE("[case 56] block: a header that is too short breaks the queue") {
  Fixture f;
  const std::vector<u8> half(15);
  f.driver.chain().reads(std::span<const u8>(half)).writes(512).writes(1).offer();
  f.kick();
  CHECK(f.queue.listener.broke == 1);
  CHECK(f.io.submitted == 0);
}

TEST_CASE("[case 56] block: a header in sixteen pieces is a header") {
  Fixture f;
  const auto header = Fixture::header(VIRTIO_BLK_T_IN, 5);
  const auto* const bytes = reinterpret_cast<const u8*>(&header);
  auto chain = f.driver.chain();
  for (u32 i = 0; i < sizeof header; ++i) chain.reads(std::span(bytes + i, 1));
  chain.writes(512).writes(1).offer();
  f.kick();
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).offset == 5 * 512);
}

TEST_CASE("[case 17] [case 57] block: without a status byte the queue is broken, nothing is touched") {
  Fixture f;
  const auto header = Fixture::header(VIRTIO_BLK_T_OUT);
  SECTION("no writable descriptor") {
    f.driver.chain().reads(header).reads(header).offer();
  }
  SECTION("an empty one") {
    f.driver.chain().reads(header).writes(0).offer();
  }
  SECTION("one that is not RAM") {
    f.driver.chain().reads(header).writes_at(FakeRam::kEnd, 1).offer();
  }
  f.kick();
  CHECK(f.queue.listener.broke == 1);
  CHECK(f.io.submitted == 0);
  CHECK_FALSE(f.driver.take_used());
}

TEST_CASE("[case 57] block: of a long status buffer one byte is written") {
  Fixture f;
  const std::vector<u8> data(512);
  const auto at = f.driver.chain()
                      .reads(Fixture::header(VIRTIO_BLK_T_OUT))
                      .reads(std::span<const u8>(data))
                      .writes(100)
                      .offer();
  f.kick();
  f.io.finish(0, 512);
  std::vector<u8> expected(100, kUntouched);
  expected[99] = VIRTIO_BLK_S_OK;
  CHECK(f.driver.bytes(at[2], 100) == expected);
}

TEST_CASE("[case 58] block: a type that nobody knows is unsupported") {
  const u32 type = GENERATE(2u, 3u, 5u, 6u, 7u, 9u, 10u, 14u, 15u, 16u, 18u, 20u, 22u, 24u, 26u, 0x80000000u,
                            0x80000001u, 0xffffffffu);
  Fixture f;
  const auto at = f.driver.chain().reads(Fixture::header(type)).writes(1).offer();
  f.kick();
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(at[1]) == VIRTIO_BLK_S_UNSUPP);
}

TEST_CASE("[case 59] block: nothing is written to a read-only disk") {
  Fixture f(kAll, true);
  const auto write = f.write(0, 512);
  const auto discard = f.clear(VIRTIO_BLK_T_DISCARD, {{.sector = 0, .num_sectors = 1}});
  const auto zeroes = f.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 0, .num_sectors = 1}});
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(write) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(discard) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(zeroes) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("[case 12] [case 13] block: data outside of RAM fails without host I/O") {
  Fixture f;
  const auto header = Fixture::header(VIRTIO_BLK_T_IN);
  const auto past_end =
      f.driver.chain().reads(header).writes_at(FakeRam::kEnd - 1024, 1025).writes(1).offer();
  const auto nowhere = f.driver.chain().reads(header).writes_at(0xfee00000, 512).writes(1).offer();
  const auto bad_header = f.driver.chain().reads_at(0xfee00000, 16).writes(512).writes(1).offer();
  f.kick();
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(past_end[2]) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(nowhere[2]) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(bad_header[2]) == VIRTIO_BLK_S_IOERR);
  // Nothing before the status was written, so that the used length cannot count it (2.7.8.2).
  CHECK(f.driver.take_used()->len == 0);
}

TEST_CASE("[case 13] block: a buffer over two adjoining regions is served") {
  Fixture f;
  const auto at = f.driver.chain()
                      .reads(Fixture::header(VIRTIO_BLK_T_IN))
                      .writes_at(FakeRam::kBoundary - 200, 512)
                      .writes(1)
                      .offer();
  f.kick();
  f.io.finish_read(0, std::vector<u8>(512, 'x'));
  CHECK(f.byte(at[2]) == VIRTIO_BLK_S_OK);
  CHECK(f.byte(guest(FakeRam::kBoundary + 311)) == 'x');
}

TEST_CASE("[case 19] block: a header that changes after the kick changes nothing") {
  Fixture f;
  const auto at = f.driver.chain().reads(Fixture::header(VIRTIO_BLK_T_IN, 1)).writes(512).writes(1).offer();
  f.kick();
  REQUIRE(f.driver.memory.write(at[0], Fixture::header(VIRTIO_BLK_T_OUT, kSectors)));
  f.io.finish(0, 256);  // the rest is asked for after the change
  CHECK(f.io.pending(0).kind == Op::Kind::kReadv);
  CHECK(f.io.pending(0).offset == 512 + 256);
}

TEST_CASE("[case 60] block: discard and write zeroes with a bad list fail") {
  const u32 type = GENERATE(u32{VIRTIO_BLK_T_DISCARD}, u32{VIRTIO_BLK_T_WRITE_ZEROES});
  Fixture f;
  const std::vector<virtio_blk_discard_write_zeroes> too_many(Block::kMaxRanges + 1, {.num_sectors = 1});
  CHECK(f.byte(f.clear(type, {})) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(f.clear(type, too_many)) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(f.clear(type, {{.sector = 0, .num_sectors = 0}})) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(f.clear(type, {{.sector = kSectors, .num_sectors = 1}})) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(f.clear(type, {{.sector = ~u64{0}, .num_sectors = 2}})) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(f.clear(type, {{.sector = 0, .num_sectors = 0xffffffff}})) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(f.clear(type, {{.sector = 0, .num_sectors = 1, .flags = 2}})) == VIRTIO_BLK_S_UNSUPP);
  // The good one before the bad one is not touched either.
  CHECK(f.byte(f.clear(type, {{.sector = 0, .num_sectors = 1}, {.sector = kSectors, .num_sectors = 1}})) ==
        VIRTIO_BLK_S_IOERR);
  CHECK(f.io.submitted == 0);
}

TEST_CASE("[case 60] block: a list of ranges that ends within one fails") {
  Fixture f;
  const std::vector<u8> list(24);
  const auto at = f.driver.chain()
                      .reads(Fixture::header(VIRTIO_BLK_T_DISCARD))
                      .reads(std::span<const u8>(list))
                      .writes(1)
                      .offer();
  f.kick();
  CHECK(f.byte(at[2]) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("[case 60] block: a discard must not carry the unmap flag") {
  Fixture f;
  const auto status = f.clear(VIRTIO_BLK_T_DISCARD, {{.sector = 0, .num_sectors = 1, .flags = 1}});
  CHECK(f.byte(status) == VIRTIO_BLK_S_UNSUPP);
}

TEST_CASE("[case 61] block: what was not negotiated is unsupported") {
  Fixture f(FakeDriver::kAllFeatures);
  const auto flush = f.flush();
  const auto discard = f.clear(VIRTIO_BLK_T_DISCARD, {{.sector = 0, .num_sectors = 1}});
  const auto zeroes = f.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 0, .num_sectors = 1}});
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(flush) == VIRTIO_BLK_S_UNSUPP);
  CHECK(f.byte(discard) == VIRTIO_BLK_S_UNSUPP);
  CHECK(f.byte(zeroes) == VIRTIO_BLK_S_UNSUPP);
}

TEST_CASE("[case 61] block: without FLUSH negotiated a write is write-through") {
  Fixture f(FakeDriver::kAllFeatures);
  const auto status = f.write(0, 512);
  CHECK(f.io.pending(0).flags == 0);
  f.finish_durably(512, status);
}

TEST_CASE("[case 61] block: without FLUSH negotiated a lost write fails all that it may have been") {
  Fixture f(FakeDriver::kAllFeatures);
  const auto first = f.write(0, 512);
  const auto second = f.write(1, 512);
  f.io.finish(0, 512);
  f.io.finish(0, 512);
  REQUIRE(f.io.size() == 1);  // one sync at a time: the host tells of the loss once
  f.io.finish(0, -EIO);
  CHECK(f.io.empty());
  CHECK(f.byte(first) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(second) == VIRTIO_BLK_S_IOERR);
  const auto later = f.write(2, 512);
  f.io.finish(0, 512);
  CHECK(f.byte(later) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("block: without FLUSH negotiated a write that fails is not synchronised") {
  Fixture f(FakeDriver::kAllFeatures);
  const auto status = f.write(0, 512);
  f.io.finish(0, -EIO);
  CHECK(f.io.empty());
  CHECK(f.byte(status) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("block: with FLUSH negotiated a write is not synchronous") {
  Fixture f;
  const auto status = f.write(0, 512);
  CHECK(f.io.pending(0).flags == 0);
  f.io.finish(0, 512);
  CHECK(f.io.empty());
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: without FLUSH negotiated zeroes are durable before they are acknowledged") {
  Fixture f(kAll & ~feature(VIRTIO_BLK_F_FLUSH));
  const auto status = f.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 0, .num_sectors = 8}});
  f.finish_durably(0, status);
}

TEST_CASE("[case 62] block: GET_ID fills as much of the buffer as the serial has") {
  const auto [bytes, used] = GENERATE(table<u32, u32>({{0, 1}, {1, 2}, {19, 20}, {20, 21}, {4096, 20}}));
  Fixture f;
  const auto at =
      f.driver.chain().reads(Fixture::header(VIRTIO_BLK_T_GET_ID)).writes(bytes).writes(1).offer();
  f.kick();
  CHECK(f.byte(at[2]) == VIRTIO_BLK_S_OK);
  CHECK(f.driver.take_used()->len == used);
  std::string expected = "0123456789";
  expected.resize(20);
  expected.resize(bytes, static_cast<char>(kUntouched));
  const auto got = f.driver.bytes(at[1], bytes);
  CHECK(std::string(got.begin(), got.end()) == expected);
}

TEST_CASE("[case 63] block: many buffers over the same page cost no memory") {
  Fixture f;
  const auto page = f.driver.allocate(4096);
  auto chain = f.driver.chain();
  chain.reads(Fixture::header(VIRTIO_BLK_T_IN));
  for (int i = 0; i < 32; ++i) chain.writes_at(address(page), 4096);
  const auto at = chain.writes(1).offer();
  f.kick();
  CHECK(f.io.submitted == 0);  // 128 KiB are more than the disk has
  CHECK(f.byte(at.back()) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("[case 64] block: data read into the ring itself harms the driver only") {
  Fixture f;
  const u64 ring = address(f.driver.layout.descriptors);
  const auto at =
      f.driver.chain().reads(Fixture::header(VIRTIO_BLK_T_IN)).writes_at(ring, 512).writes(1).offer();
  f.kick();
  REQUIRE(f.io.pending(0).kind == Op::Kind::kReadv);
  const std::span<u8> target = f.driver.memory.slice(guest(ring), 512).value();
  std::ranges::fill(target, 0xff);  // what the host would read
  f.io.finish(0, 512);
  CHECK(f.byte(at.back()) == VIRTIO_BLK_S_OK);
  f.driver.offer_head(0);
  f.kick();  // served or refused, but nothing else
  CHECK(f.queue.listener.broke == 1);
}

TEST_CASE("[case 65] block: a read behind the end of an image that was cut fails") {
  Fixture f;
  const auto status = f.read(8, 1024);
  f.io.finish(0, 512);
  REQUIRE(f.io.size() == 1);
  f.io.finish(0, 0);
  CHECK(f.byte(status) == VIRTIO_BLK_S_IOERR);
  CHECK(f.lines == std::vector<std::string>{"disk a.img: cannot read at byte 4608: the image ends there"});
}

TEST_CASE("[case 66] block: an error of the host is the request's, and the next one is served") {
  const i32 error = GENERATE(-EIO, -ENOSPC, -EFBIG, -ENOMEM, -EBADF, -EINVAL, -EDQUOT, -ECANCELED);
  Fixture f;
  const auto read = f.read(0, 512);
  const auto write = f.write(1, 512);
  f.io.finish(0, error);
  f.io.finish(0, error);
  CHECK(f.byte(read) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(write) == VIRTIO_BLK_S_IOERR);
  CHECK(f.lines.empty() == (error == -ECANCELED));
  const auto again = f.read(0, 512);
  f.io.finish(0, 512);
  CHECK(f.byte(again) == VIRTIO_BLK_S_OK);
}

TEST_CASE("[case 67] block: the rest of a short read is asked for") {
  Fixture f;
  const auto status = f.read(2, 2048);
  f.io.finish(0, 700);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).offset == 1024 + 700);
  CHECK(f.io.length_of(0) == 1348);
  CHECK(f.byte(status) == kUntouched);
  f.io.finish(0, 1348);
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
  CHECK(f.driver.take_used()->len == 2049);
}

TEST_CASE("[case 67] block: a write byte by byte arrives whole and in place") {
  Fixture f;
  const auto status = f.write(1, 512);
  for (u64 i = 0; i < 512; ++i) {
    REQUIRE(f.io.size() == 1);
    REQUIRE(f.io.pending(0).offset == 512 + i);
    REQUIRE(f.io.length_of(0) == 512 - i);
    f.io.finish(0, 1);
  }
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: a refusal that may pass is tried again, later") {
  const i32 error = GENERATE(-EAGAIN, -EINTR);
  Fixture f;
  const auto status = f.write(1, 512);
  f.io.finish(0, error);
  REQUIRE(f.io.pending(0).kind == Op::Kind::kTimeout);
  f.io.finish(0, -ETIME);
  REQUIRE(f.io.pending(0).kind == Op::Kind::kWritev);
  CHECK(f.io.pending(0).offset == 512);
  f.io.finish(0, 512);
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: a refusal that does not pass ends in an error") {
  Fixture f;
  const auto status = f.read(1, 512);
  for (int i = 0; i < 100 && !f.io.empty(); ++i) {
    f.io.finish(0, f.io.pending(0).kind == Op::Kind::kTimeout ? -ETIME : -EAGAIN);
  }
  CHECK(f.byte(status) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("[case 70] block: a flush waits for the writes before it, then for the host") {
  Fixture f;
  f.write(0, 512);
  f.write(1, 512);
  const auto status = f.flush();
  CHECK(f.io.find(Op::Kind::kFdatasync) == f.io.size());
  f.io.finish(1, 512);
  CHECK(f.io.find(Op::Kind::kFdatasync) == f.io.size());
  f.io.finish(0, 512);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).kind == Op::Kind::kFdatasync);
  CHECK(f.byte(status) == kUntouched);
  f.io.finish(0, 0);
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
}

TEST_CASE("[case 70] block: a flush waits for zeroes and discards as for writes") {
  const u32 type = GENERATE(u32{VIRTIO_BLK_T_DISCARD}, u32{VIRTIO_BLK_T_WRITE_ZEROES});
  Fixture f;
  f.clear(type, {{.sector = 0, .num_sectors = 8}});
  f.flush();
  CHECK(f.io.find(Op::Kind::kFdatasync) == f.io.size());
  f.io.finish(0, 0);
  CHECK(f.io.find(Op::Kind::kFdatasync) == 0);
}

TEST_CASE("block: a flush waits neither for reads nor for later writes, and they not for it") {
  Fixture f;
  f.read(0, 512);
  const auto flush = f.flush();
  const auto write = f.write(0, 512);
  const u32 sync = f.io.find(Op::Kind::kFdatasync);
  REQUIRE(sync < f.io.size());
  f.io.finish(f.io.find(Op::Kind::kWritev), 512);
  CHECK(f.byte(write) == VIRTIO_BLK_S_OK);
  f.io.finish(f.io.find(Op::Kind::kFdatasync), 0);
  CHECK(f.byte(flush) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: flushes that come while one runs share the next one") {
  Fixture f;
  const auto first = f.flush();
  const auto second = f.flush();
  const auto third = f.flush();
  REQUIRE(f.io.size() == 1);
  f.io.finish(0, 0);
  CHECK(f.byte(first) == VIRTIO_BLK_S_OK);
  CHECK(f.byte(second) == kUntouched);
  REQUIRE(f.io.size() == 1);
  f.io.finish(0, 0);
  CHECK(f.byte(second) == VIRTIO_BLK_S_OK);
  CHECK(f.byte(third) == VIRTIO_BLK_S_OK);
  CHECK(f.io.submitted == 2);
}

TEST_CASE("block: after a flush that failed no flush succeeds, not even after a reset") {
  const i32 error = GENERATE(-EIO, -ENOSPC, -ENOMEM);
  Fixture f;
  const auto first = f.flush();
  const auto meanwhile = f.flush();
  f.io.finish(0, error);
  CHECK(f.byte(first) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(meanwhile) == VIRTIO_BLK_S_IOERR);
  f.block.reset();
  f.block.start(kAll);
  const auto later = f.flush();
  CHECK(f.io.empty());
  CHECK(f.byte(later) == VIRTIO_BLK_S_IOERR);
  CHECK(f.lines.size() == 1);
}

TEST_CASE("block: a flush that did not take place fails alone") {
  const i32 error = GENERATE(-EAGAIN, -EINTR, -ECANCELED);
  Fixture f;
  const auto first = f.flush();
  f.io.finish(0, error);
  CHECK(f.byte(first) == VIRTIO_BLK_S_IOERR);
  const auto second = f.flush();
  f.io.finish(0, 0);
  CHECK(f.byte(second) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: a discard punches a hole of each range") {
  Fixture f;
  const auto status =
      f.clear(VIRTIO_BLK_T_DISCARD, {{.sector = 8, .num_sectors = 16}, {.sector = 40, .num_sectors = 24}});
  CHECK(f.io.pending(0).kind == Op::Kind::kFallocate);
  CHECK(f.io.pending(0).flags == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE));
  CHECK(f.io.pending(0).offset == 8 * 512);
  CHECK(f.io.pending(0).length == 16 * 512);
  f.io.finish(0, 0);
  CHECK(f.io.pending(0).offset == 40 * 512);
  f.io.finish(0, 0);
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: a discard that the host cannot do is unsupported, one that fails is an error") {
  const auto [error, outcome] = GENERATE(table<i32, u8>(
      {{-EOPNOTSUPP, VIRTIO_BLK_S_UNSUPP}, {-EIO, VIRTIO_BLK_S_IOERR}, {-ENOSPC, VIRTIO_BLK_S_IOERR}}));
  Fixture f;
  const auto status = f.clear(VIRTIO_BLK_T_DISCARD, {{.sector = 8, .num_sectors = 16}});
  f.io.finish(0, error);
  CHECK(f.byte(status) == outcome);
}

TEST_CASE("block: zeroes keep their blocks unless the guest lets them go") {
  const auto [flags, mode] = GENERATE(table<u32, u32>(
      {{0, FALLOC_FL_ZERO_RANGE}, {VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, FALLOC_FL_PUNCH_HOLE}}));
  Fixture f;
  f.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 0, .num_sectors = 8, .flags = flags}});
  CHECK(f.io.pending(0).flags == (mode | FALLOC_FL_KEEP_SIZE));
}

TEST_CASE("block: where the host knows no such calls, zeroes are written in bounded pieces") {
  Fixture f(kAll, false, geometry_of(2048));
  const auto status = f.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 1, .num_sectors = 1025, .flags = 1}});
  f.io.finish(0, -EOPNOTSUPP);
  f.io.finish(0, -EOPNOTSUPP);
  u64 offset = 512;
  while (!f.io.empty()) {
    REQUIRE(f.io.pending(0).kind == Op::Kind::kWritev);
    REQUIRE(f.io.pending(0).offset == offset);
    const u64 bytes = f.io.length_of(0);
    REQUIRE(bytes <= 256_KiB);
    CHECK(std::ranges::count(f.io.bytes_of(0), 0) == static_cast<i64>(bytes));
    offset += bytes;
    f.io.finish(0, static_cast<i32>(bytes));
  }
  CHECK(offset == 512 + 1025 * 512);
  CHECK(f.byte(status) == VIRTIO_BLK_S_OK);

  f.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{.sector = 0, .num_sectors = 1, .flags = 1}});
  CHECK(f.io.pending(0).kind == Op::Kind::kWritev);  // it is not asked again
}

TEST_CASE("block: a reset while requests are in flight ends when the last of them has") {
  Fixture f;
  f.write(0, 512);
  f.flush();
  f.read(0, 512);
  f.queue.queue.stop();
  CHECK_FALSE(f.tasks.empty());
  f.block.io().cancel_all();
  f.io.finish_cancelled();
  while (!f.io.empty()) f.io.finish(0, -ECANCELED);
  CHECK(f.tasks.empty());
}

TEST_CASE("block: a short count after a reset is not followed up") {
  Fixture f;
  f.read(0, 1024);
  f.queue.queue.stop();
  f.io.finish(0, 512);
  CHECK(f.io.empty());
  CHECK(f.tasks.empty());
}

TEST_CASE("[case 32] block: 200 000 requests in a row are served") {
  Fixture f;
  const auto data = f.driver.allocate(512);
  const auto header = f.driver.allocate(16);
  const auto status = f.driver.allocate(1);
  for (u32 i = 0; i < 200'000; ++i) {
    REQUIRE(f.driver.memory.write(header, Fixture::header(VIRTIO_BLK_T_IN, i % kSectors)));
    f.driver.chain()
        .reads_at(address(header), 16)
        .writes_at(address(data), 512)
        .writes_at(address(status), 1)
        .offer();
    f.kick();
    f.io.finish(0, 512);
    const auto used = f.driver.take_used();
    if (!used || used->len != 513) FAIL("request " << i);
  }
}

// --- direct I/O

DiskImage::Geometry direct_geometry(u32 block_size) {
  return {.bytes = kSectors * kSectorSize,
          .logical_block_size = block_size,
          .physical_block_size = 4096,
          .offset_alignment = block_size,
          .memory_alignment = 512};
}

TEST_CASE("block: direct I/O takes aligned buffers as they are") {
  Fixture f(kAll, false, direct_geometry(512));
  const auto buffer = f.driver.allocate(1024, 512);
  f.driver.chain()
      .reads(Fixture::header(VIRTIO_BLK_T_IN))
      .writes_at(address(buffer), 512)
      .writes_at(address(buffer) + 512, 512)
      .writes(1)
      .offer();
  f.kick();
  const auto* const pieces = static_cast<const iovec*>(f.io.pending(0).address);
  CHECK(pieces[0].iov_base == f.driver.memory.slice(buffer, 1)->data());
  f.io.finish(0, 1024);
}

TEST_CASE("block: direct I/O of unaligned buffers goes through an aligned one") {
  Fixture f(kAll, false, direct_geometry(512));
  const auto buffer = f.driver.allocate(2048, 512);
  const auto at = f.driver.chain()
                      .reads(Fixture::header(VIRTIO_BLK_T_IN, 2))
                      .writes_at(address(buffer) + 3, 100)
                      .writes_at(address(buffer) + 512, 412)
                      .writes(1)
                      .offer();
  f.kick();
  REQUIRE(f.io.size() == 1);
  const auto* const piece = static_cast<const iovec*>(f.io.pending(0).address);
  CHECK(reinterpret_cast<u64>(piece->iov_base) % 4096 == 0);
  CHECK(piece->iov_len == 512);
  CHECK(f.io.pending(0).offset == 1024);
  std::vector<u8> sector(512, 'a');
  sector[100] = 'b';
  f.io.finish_read(0, sector);
  CHECK(f.byte(buffer + 3) == 'a');
  CHECK(f.byte(buffer + 102) == 'a');
  CHECK(f.byte(buffer + 512) == 'b');
  CHECK(f.byte(at[3]) == VIRTIO_BLK_S_OK);
  CHECK(f.driver.take_used()->len == 513);
}

TEST_CASE("block: an unaligned direct write is written as the guest's bytes, its short count as well") {
  Fixture f(kAll, false, direct_geometry(512));
  const auto buffer = f.driver.allocate(4096, 512);
  for (u64 i = 0; i < 1024; ++i) f.driver.field<u8>(buffer + 1 + i) = static_cast<u8>(i / 512);
  const auto at = f.driver.chain()
                      .reads(Fixture::header(VIRTIO_BLK_T_OUT))
                      .reads_at(address(buffer) + 1, 1024)
                      .writes(1)
                      .offer();
  f.kick();
  f.io.finish(0, 700);  // not a whole block: the second one is written again
  CHECK(f.io.pending(0).offset == 512);
  CHECK(f.io.bytes_of(0) == std::vector<u8>(512, 1));
  f.io.finish(0, 512);
  CHECK(f.byte(at[2]) == VIRTIO_BLK_S_OK);
}

TEST_CASE("block: an error in the middle of an unaligned direct read is an error") {
  Fixture f(kAll, false, direct_geometry(512));
  const auto buffer = f.driver.allocate(4096, 512);
  const auto at = f.driver.chain()
                      .reads(Fixture::header(VIRTIO_BLK_T_IN))
                      .writes_at(address(buffer) + 1, 1024)
                      .writes(1)
                      .offer();
  f.kick();
  f.io.finish(0, -EIO);
  CHECK(f.io.empty());
  CHECK(f.byte(at[2]) == VIRTIO_BLK_S_IOERR);
}

TEST_CASE("block: a direct request finer than the host's block fails without host I/O") {
  Fixture f(kAll, false, direct_geometry(4096));
  const auto part = f.read(0, 512);
  const auto between = f.read(1, 4096);
  CHECK(f.io.submitted == 0);
  CHECK(f.byte(part) == VIRTIO_BLK_S_IOERR);
  CHECK(f.byte(between) == VIRTIO_BLK_S_IOERR);
  virtio_blk_config config{};
  std::memcpy(&config, f.block.config().data(), sizeof config);
  CHECK(config.blk_size == 4096);
}

TEST_CASE("block: unaligned direct requests wait for one of a few buffers") {
  Fixture f(kAll, false, direct_geometry(512));
  const auto buffer = f.driver.allocate(4096, 512);
  for (int i = 0; i < 12; ++i) {
    f.driver.chain()
        .reads(Fixture::header(VIRTIO_BLK_T_IN))
        .writes_at(address(buffer) + 1, 512)
        .writes(1)
        .offer();
  }
  f.kick();
  CHECK(f.io.size() == 8);
  int served = 0;
  for (; !f.io.empty(); ++served) f.io.finish(0, 512);
  CHECK(served == 12);
}

TEST_CASE("block: no direct request reaches the host misaligned, whatever the guest asks") {
  Fixture f(kAll, false, direct_geometry(512));
  const auto buffer = f.driver.allocate(64_KiB, 4096);
  u32 seed = 1;
  const auto random = [&seed](u32 below) { return (seed = seed * 1664525 + 1013904223) / 65536 % below; };
  for (int i = 0; i < 500; ++i) {
    auto chain = f.driver.chain();
    const u32 type = random(2);
    chain.reads(Fixture::header(type, random(8)));
    const u32 bytes = 512 * (1 + random(8));
    const u32 split = random(bytes);
    const u64 first = address(buffer) + random(3) * 256;
    if (type == VIRTIO_BLK_T_IN) chain.writes_at(first, split).writes_at(first + 8192, bytes - split);
    if (type == VIRTIO_BLK_T_OUT) chain.reads_at(first, split).reads_at(first + 8192, bytes - split);
    chain.writes_at(address(buffer) + 32_KiB, 1).offer();
    f.kick();
    REQUIRE_FALSE(f.io.empty());
    while (!f.io.empty()) {
      const Op& op = f.io.pending(0);
      REQUIRE(op.offset % 512 == 0);
      for (u32 k = 0; k < op.count; ++k) {
        const iovec& piece = static_cast<const iovec*>(op.address)[k];
        REQUIRE(reinterpret_cast<u64>(piece.iov_base) % 512 == 0);
        REQUIRE(piece.iov_len % 512 == 0);
      }
      const auto whole = static_cast<i32>(f.io.length_of(0));
      f.io.finish(0, 1 + static_cast<i32>(random(static_cast<u32>(whole))));
      if (!f.io.empty() && f.io.pending(0).kind == Op::Kind::kTimeout) f.io.finish(0, -ETIME);
    }
    f.driver.take_used();
  }
}

}  // namespace
}  // namespace uvmm
