// SPDX-License-Identifier: Apache-2.0
// Block: what is durable, and when the driver is told so.
#include "tests/unit/block_fixture.h"

namespace uvmm {
namespace {

using Fixture = BlockFixture;

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

TEST_CASE("block: a flush stalls neither the other queues nor its own") {
  Fixture f;
  FakeDriver other_driver(64);
  FakeQueue other(f.block.io(), other_driver);
  f.tasks.spawn(f.block.run(other.queue, 1));
  f.write(0, 512);
  const auto flush = f.flush();  // waits for the write
  const auto sync = [&] { return f.io.find(Op::Kind::kFdatasync); };
  for (const bool syncing : {false, true}) {
    CAPTURE(syncing);
    if (syncing) f.io.finish(f.io.find(Op::Kind::kWritev), 512);
    CHECK((sync() < f.io.size()) == syncing);
    const auto own = f.read(1, 512);
    const auto theirs =
        other_driver.chain().reads(Fixture::header(VIRTIO_BLK_T_IN, 2)).writes(512).writes(1).offer();
    other.queue.notify();
    while (f.io.find(Op::Kind::kReadv) < f.io.size()) f.io.finish(f.io.find(Op::Kind::kReadv), 512);
    CHECK(f.byte(own) == VIRTIO_BLK_S_OK);
    CHECK(other_driver.bytes(theirs[2], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
    CHECK(other_driver.used_index() == (syncing ? 2 : 1));
    CHECK(f.byte(flush) == kUntouched);
  }
  f.io.finish(sync(), 0);
  CHECK(f.byte(flush) == VIRTIO_BLK_S_OK);
  other.queue.stop();
}

}  // namespace
}  // namespace uvmm
