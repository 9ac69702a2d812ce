// SPDX-License-Identifier: Apache-2.0
#include "vmm/embedded_disk.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <climits>
#include <thread>
#include <vector>

#include "devices/block.h"
#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

constexpr u64 kSectors = 8;

struct FakeDisk final : Disk {
  std::uint64_t bytes() const override { return size; }
  void submit(DiskRequest& request) override {
    if (answers_at_once) return request.complete(0);
    requests.push_back(&request);
  }
  u64 size = kSectors * kSectorSize;
  bool answers_at_once = false;
  std::vector<DiskRequest*> requests;  // that have not been completed
};

// A block device whose image is a FakeDisk.
struct Fixture {
  Fixture() {
    block.start(FakeDriver::kAllFeatures | feature(VIRTIO_BLK_F_FLUSH) | feature(VIRTIO_BLK_F_WRITE_ZEROES));
    tasks.spawn(block.run(queue.queue, 0));
  }
  ~Fixture() {
    queue.queue.stop();
    block.io().cancel_all();
    while (!disk.requests.empty()) complete(0);
    door->close();
    while (!io.empty()) {
      io.finish_cancelled();
      io.finish_all(0);
    }
    CHECK(tasks.empty());
  }
  std::vector<GuestAddress> offer(u32 type, u64 sector, u32 bytes) {
    auto chain = driver.chain();
    chain.reads(virtio_blk_outhdr{.type = type, .ioprio = 0, .sector = sector});
    if (type == VIRTIO_BLK_T_IN) chain.writes(bytes);
    if (type == VIRTIO_BLK_T_OUT) chain.reads_at(FakeRam::kBoundary, bytes);
    const std::vector<GuestAddress> at = chain.writes(1).offer();
    queue.queue.notify();
    io.end_turn();
    return at;
  }
  void complete(int error) {
    DiskRequest& oldest = *disk.requests.front();
    disk.requests.erase(disk.requests.begin());
    oldest.complete(error);
    wake();
  }
  // The eventfd is heard of.
  void wake() { io.fire(io.find(Op::Kind::kPollMultishot), POLLIN); }
  u8 status(const std::vector<GuestAddress>& at) { return driver.memory.read<u8>(at.back()).value_or(0xff); }

  FakeIo io;
  FakeDisk disk;
  std::unique_ptr<EmbeddedDisk> door = *EmbeddedDisk::create(io, {.path = "memory", .disk = &disk});
  Log log;
  FakeDriver driver{64};
  Block block{*door, door->image(), {}, log};
  FakeQueue queue{block.io(), driver};
  TaskScope tasks;
};

TEST_CASE("embedded disk: its size is the guest's, and one that is no whole sectors is refused") {
  Fixture f;
  virtio_blk_config config{};
  std::memcpy(&config, f.block.config().data(), sizeof config);
  CHECK(config.capacity == kSectors);
  CHECK((f.block.features() & feature(VIRTIO_BLK_F_RO)) == 0);
  FakeDisk odd;
  odd.size = GENERATE(0u, 511u, 1000u);
  const auto refused = EmbeddedDisk::create(f.io, {.path = "memory", .disk = &odd});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("memory") != std::string::npos);
}

TEST_CASE("embedded disk: its size of now is what the disk says") {
  Fixture f;
  f.disk.size = 2 * kSectors * kSectorSize;
  CHECK(f.door->current_bytes() == 2 * kSectors * kSectorSize);
  f.disk.size += 1;
  CHECK_FALSE(f.door->current_bytes());
}

TEST_CASE("embedded disk: a read is asked of the disk, with the guest's memory") {
  Fixture f;
  const auto at = f.offer(VIRTIO_BLK_T_IN, 3, 1024);
  REQUIRE(f.disk.requests.size() == 1);
  DiskRequest& request = *f.disk.requests[0];
  CHECK(request.kind == DiskRequest::Kind::kRead);
  CHECK(request.offset == 3 * 512);
  REQUIRE(request.buffers.size() == 1);
  CHECK(request.buffers[0].iov_base == f.driver.memory.slice(at[1], 1024)->data());
  CHECK(request.buffers[0].iov_len == 1024);
  CHECK_FALSE(f.driver.take_used());
  f.complete(0);
  CHECK(f.status(at) == VIRTIO_BLK_S_OK);
  CHECK(f.driver.take_used()->len == 1025);
  CHECK(f.door->idle());
}

TEST_CASE("embedded disk: a write and a flush are asked of it, in any order of completion") {
  Fixture f;
  const auto write = f.offer(VIRTIO_BLK_T_OUT, 0, 512);
  const auto read = f.offer(VIRTIO_BLK_T_IN, 0, 512);
  REQUIRE(f.disk.requests.size() == 2);
  CHECK(f.disk.requests[0]->kind == DiskRequest::Kind::kWrite);
  std::swap(f.disk.requests[0], f.disk.requests[1]);
  f.complete(0);
  CHECK(f.status(read) == VIRTIO_BLK_S_OK);
  CHECK(f.status(write) != VIRTIO_BLK_S_OK);
  f.complete(0);
  CHECK(f.status(write) == VIRTIO_BLK_S_OK);
  const auto flush = f.offer(VIRTIO_BLK_T_FLUSH, 0, 0);
  REQUIRE(f.disk.requests.size() == 1);
  CHECK(f.disk.requests[0]->kind == DiskRequest::Kind::kFlush);
  CHECK(f.disk.requests[0]->buffers.empty());
  f.complete(0);
  CHECK(f.status(flush) == VIRTIO_BLK_S_OK);
}

TEST_CASE("embedded disk: what fails is an error for the guest") {
  Fixture f;
  const auto at = f.offer(VIRTIO_BLK_T_IN, 0, 512);
  f.complete(EIO);
  CHECK(f.status(at) == VIRTIO_BLK_S_IOERR);
  CHECK(f.block.errors().value() == 1);
}

TEST_CASE("embedded disk: whatever it calls an error is one, and no count of bytes") {
  Fixture f;
  const int error = GENERATE(-EIO, -1, -512, 4096, INT_MAX, INT_MIN);
  const auto read = f.offer(VIRTIO_BLK_T_IN, 0, 512);
  f.complete(error);
  CHECK(f.status(read) == VIRTIO_BLK_S_IOERR);
  const auto flush = f.offer(VIRTIO_BLK_T_FLUSH, 0, 0);
  f.complete(error);
  CHECK(f.status(flush) == VIRTIO_BLK_S_IOERR);
  CHECK(f.disk.requests.empty());
}

TEST_CASE("embedded disk: what it completes at once is not complete within the call") {
  Fixture f;
  f.disk.answers_at_once = true;
  const auto at = f.offer(VIRTIO_BLK_T_IN, 0, 512);
  CHECK_FALSE(f.door->idle());
  f.wake();
  CHECK(f.status(at) == VIRTIO_BLK_S_OK);
}

TEST_CASE("embedded disk: many are completed by one wake-up, on another thread") {
  Fixture f;
  std::vector<std::vector<GuestAddress>> reads;
  for (u64 sector = 0; sector < kSectors; ++sector) reads.push_back(f.offer(VIRTIO_BLK_T_IN, sector, 512));
  REQUIRE(f.disk.requests.size() == kSectors);
  std::thread([&] {
    for (DiskRequest* const request : std::exchange(f.disk.requests, {})) request->complete(0);
  }).join();
  f.wake();
  for (const auto& read : reads) CHECK(f.status(read) == VIRTIO_BLK_S_OK);
  CHECK(f.door->idle());
}

TEST_CASE("embedded disk: zeroes are written, since it knows no holes") {
  Fixture f;
  const auto at = f.driver.chain()
                      .reads(virtio_blk_outhdr{.type = VIRTIO_BLK_T_WRITE_ZEROES, .ioprio = 0, .sector = 0})
                      .reads(virtio_blk_discard_write_zeroes{.sector = 2, .num_sectors = 1, .flags = 0})
                      .writes(1)
                      .offer();
  f.queue.queue.notify();
  f.io.end_turn();
  f.wake();
  REQUIRE(f.disk.requests.size() == 1);
  CHECK(f.disk.requests[0]->kind == DiskRequest::Kind::kWrite);
  CHECK(f.disk.requests[0]->offset == 1024);
  f.complete(0);
  CHECK(f.status(at) == VIRTIO_BLK_S_OK);
}

TEST_CASE("embedded disk: a reset waits for what the disk has") {
  Fixture f;
  f.offer(VIRTIO_BLK_T_IN, 0, 512);
  f.queue.queue.stop();
  f.block.io().cancel_all();
  f.io.end_turn();
  CHECK_FALSE(f.tasks.empty());
  CHECK_FALSE(f.block.io().idle());
  f.complete(0);
  CHECK(f.tasks.empty());
  CHECK(f.block.io().idle());
}

}  // namespace
}  // namespace uvmm
