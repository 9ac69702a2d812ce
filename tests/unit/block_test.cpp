// SPDX-License-Identifier: Apache-2.0
#include "devices/block.h"

#include <algorithm>

#include "tests/unit/block_fixture.h"

namespace uvmm {
namespace {

using Fixture = BlockFixture;

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

TEST_CASE("block: a disk grows when its owner says so, which the driver hears of") {
  struct Listener final : ConfigChangeListener {
    void config_changed() override { ++changes; }
    u32 changes = 0;
  } listener;
  Fixture f;
  f.block.set_listener(&listener);
  CHECK(f.byte(f.read(kSectors, 512)) == VIRTIO_BLK_S_IOERR);
  REQUIRE(f.block.grow((kSectors + 1) * kSectorSize));
  virtio_blk_config config{};
  std::memcpy(&config, f.block.config().data(), sizeof config);
  CHECK(config.capacity == kSectors + 1);
  CHECK(listener.changes == 1);
  f.read(kSectors, 512);
  CHECK(f.io.size() == 1);
  CHECK(f.byte(f.read(kSectors + 1, 512)) == VIRTIO_BLK_S_IOERR);
  REQUIRE(f.block.grow((kSectors + 1) * kSectorSize));
  CHECK(listener.changes == 1);
  f.block.set_listener(nullptr);
}

TEST_CASE("block: a disk that would shrink stays as it is") {
  Fixture f;
  const Result<void> shrunk = f.block.grow((kSectors - 1) * kSectorSize);
  REQUIRE_FALSE(shrunk);
  CHECK(shrunk.error().kind == ErrorKind::kBusy);
  CHECK(shrunk.error().message ==
        "cannot resize disk a.img: it has 32256 bytes now, and the guest uses 32768");
  f.read(kSectors - 1, 512);
  CHECK(f.io.size() == 1);
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
  CHECK(f.block.errors().value() == 2);
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

TEST_CASE("[case 63] block: many buffers over the same page are read into by one operation") {
  Fixture f(kAll, false, geometry_of(1024));
  const auto page = f.driver.allocate(4096);
  auto chain = f.driver.chain();
  chain.reads(Fixture::header(VIRTIO_BLK_T_IN));
  for (int i = 0; i < 62; ++i) chain.writes_at(address(page), 4096);
  const auto at = chain.writes(1).offer();
  f.kick();
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).kind == Op::Kind::kReadv);
  CHECK(f.io.pending(0).count == 62);
  f.io.finish(0, 62 * 4096);
  CHECK(f.byte(at.back()) == VIRTIO_BLK_S_OK);
  CHECK(f.driver.take_used()->len == 62 * 4096 + 1);
}

TEST_CASE(
    "[case 63] block: a table full of buffers of 1 GiB over the same page breaks the queue, and nothing is "
    "read") {
  Fixture f(kAll, false, geometry_of(u64{1} << 40));
  const auto page = f.driver.allocate(4096);
  auto chain = f.driver.chain();
  chain.reads(Fixture::header(VIRTIO_BLK_T_IN));
  for (int i = 0; i < 62; ++i) chain.writes_at(address(page), u32{1} << 30);
  chain.writes(1).indirect().offer();
  f.kick();
  CHECK(f.io.submitted == 0);
  CHECK(f.queue.listener.broke == 1);
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

TEST_CASE("block: a disk whose host never answers slows no other one") {
  Fixture f;
  Block slow(f.io, DiskImage(Fd(), "slow.img", false, geometry_of(kSectors)), {}, f.log);
  slow.start(kAll);
  FakeDriver slow_driver(64);
  FakeQueue slow_queue(slow.io(), slow_driver);
  f.tasks.spawn(slow.run(slow_queue.queue, 0));
  constexpr u32 kStuck = 20;
  for (u32 i = 0; i < kStuck; ++i)
    slow_driver.chain().reads(Fixture::header(VIRTIO_BLK_T_IN, i)).writes(512).writes(1).offer();
  slow_queue.queue.notify();
  f.io.end_turn();
  REQUIRE(f.io.size() == kStuck);
  for (u32 i = 0; i < 100; ++i) {
    const auto status = f.read(i % kSectors, 512);
    f.io.finish(kStuck, 512);
    REQUIRE(f.byte(status) == VIRTIO_BLK_S_OK);
    REQUIRE(f.driver.take_used());
  }
  CHECK(slow_driver.used_index() == 0);
  CHECK(f.io.size() == kStuck);
  slow_queue.queue.stop();
  f.io.finish_all(-ECANCELED);
}

}  // namespace
}  // namespace uvmm
