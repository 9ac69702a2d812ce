// SPDX-License-Identifier: Apache-2.0
// Block with O_DIRECT: what reaches the host is aligned as the host wants it.
#include "tests/unit/block_fixture.h"

namespace uvmm {
namespace {

using Fixture = BlockFixture;

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

TEST_CASE(
    "block: memory that is less aligned than the host's page goes through a buffer that is as aligned") {
  DiskImage::Geometry geometry = direct_geometry(512);
  geometry.memory_alignment = 4096;
  Fixture f(kAll, false, geometry);
  const auto buffer = f.driver.allocate(8192, 4096);
  for (const u64 shift : {u64{0}, u64{512}}) {
    f.driver.chain()
        .reads(Fixture::header(VIRTIO_BLK_T_IN))
        .writes_at(address(buffer) + shift, 512)
        .writes(1)
        .offer();
    f.kick();
    const auto* const piece = static_cast<const iovec*>(f.io.pending(0).address);
    CHECK(reinterpret_cast<u64>(piece->iov_base) % 4096 == 0);
    CHECK((piece->iov_base == f.driver.memory.slice(buffer, 1)->data()) == (shift == 0));
    f.io.finish(0, 512);
  }
}

}  // namespace
}  // namespace uvmm
