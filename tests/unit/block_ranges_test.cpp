// SPDX-License-Identifier: Apache-2.0
// Block: discard and write zeroes.
#include <linux/falloc.h>

#include <algorithm>

#include "tests/unit/block_fixture.h"

namespace uvmm {
namespace {

using Fixture = BlockFixture;

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

}  // namespace
}  // namespace uvmm
