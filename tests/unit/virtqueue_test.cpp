// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/virtqueue.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "tests/unit/virtqueue_fixture.h"

namespace uvmm {
namespace {

constexpr u64 kIndirect = kPlain | feature(VIRTIO_RING_F_INDIRECT_DESC);

vring_desc buffer(u32 length, u16 flags, u16 next = 0) {
  return {.addr = FakeRam::kBoundary, .len = length, .flags = flags, .next = next};
}

// Puts `table` into guest memory, and a descriptor that names it into slot 0.
vring_desc indirect_to(FakeDriver& driver, const std::vector<vring_desc>& table) {
  const u32 bytes = static_cast<u32>(table.size() * sizeof(vring_desc));
  const GuestAddress gpa = driver.allocate(bytes, 16);
  std::memcpy(driver.memory.slice(gpa, bytes)->data(), table.data(), bytes);
  return {.addr = address(gpa), .len = bytes, .flags = VRING_DESC_F_INDIRECT, .next = 0};
}

TEST_CASE("virtqueue: a chain is taken with its readable and writable halves") {
  Ring ring;
  const auto at = ring.driver.chain().reads(u32{0x12345678}).writes(512).writes(1).offer();
  std::optional<DescriptorChain> chain = ring.device.pop();
  REQUIRE(chain);
  CHECK(chain->readable.take<u32>() == 0x12345678u);
  CHECK(chain->writable.size() == 513);
  CHECK(chain->writable.take_last_byte() == ring.driver.memory.slice(at[2], 1)->data());
  CHECK_FALSE(ring.device.pop());
  CHECK_FALSE(ring.device.broken());
}

TEST_CASE("virtqueue: a chain that dies is shown to the driver by publish, with what was written") {
  Ring ring;
  ring.driver.chain().writes(64).offer();
  ring.device.pop()->written = 17;
  CHECK(ring.device.unpublished());
  CHECK_FALSE(ring.driver.take_used());
  CHECK(ring.device.publish());
  CHECK(ring.driver.take_used()->len == 17);
  CHECK_FALSE(ring.device.publish());
}

TEST_CASE("virtqueue: chains complete in any order") {
  Ring ring;
  for (u32 i = 0; i < 3; ++i) ring.driver.chain().writes(8).offer();
  std::optional<DescriptorChain> first = ring.device.pop();
  ring.device.pop()->written = 2;
  ring.device.pop()->written = 3;
  first->written = 1;
  first.reset();
  ring.device.publish();
  CHECK(ring.driver.take_used()->len == 2);
  CHECK(ring.driver.take_used()->len == 3);
  CHECK(ring.driver.take_used()->len == 1);
}

TEST_CASE("virtqueue: an indirect table is a chain like any other, after direct descriptors too") {
  Ring ring;
  ring.driver.chain().reads(u16{1}).writes(10).indirect().offer();
  CHECK(ring.device.pop()->writable.size() == 10);

  vring_desc table = indirect_to(ring.driver, {buffer(5, VRING_DESC_F_WRITE)});
  ring.driver.descriptor(7) = table;
  ring.driver.offer_descriptor(6, buffer(3, VRING_DESC_F_NEXT, 7));
  std::optional<DescriptorChain> chain = ring.device.pop();
  REQUIRE(chain);
  CHECK(chain->readable.size() == 3);
  CHECK(chain->writable.size() == 5);
}

TEST_CASE("virtqueue: the write flag of a descriptor that names an indirect table is ignored") {
  Ring ring;
  vring_desc table = indirect_to(ring.driver, {buffer(5, 0)});
  table.flags |= VRING_DESC_F_WRITE;
  ring.driver.offer_descriptor(0, table);
  CHECK(ring.device.pop()->readable.size() == 5);
}

TEST_CASE("virtqueue: a chain as long as the queue is served, through an indirect table too") {
  Ring ring(4);
  ring.driver.chain().reads(u8{1}).reads(u8{2}).writes(1).writes(1).offer();
  CHECK(ring.device.pop()->writable.size() == 2);
  ring.device.publish();
  ring.driver.take_used();
  ring.driver.chain().reads(u8{1}).reads(u8{2}).writes(1).writes(1).indirect().offer();
  CHECK(ring.device.pop()->writable.size() == 2);
}

TEST_CASE("virtqueue: [case 1] an available index ahead by more than the size breaks the ring") {
  Ring ring(8);
  ring.driver.avail_index() = 9;
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 1] an available index that goes backwards breaks the ring") {
  Ring ring(8);
  ring.driver.avail_index() = 0xffff;
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 2] a head beyond the queue breaks the ring") {
  Ring ring(8);
  ring.driver.offer_head(8);
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 2] a next beyond the queue breaks the ring") {
  Ring ring(8);
  ring.driver.offer_descriptor(0, buffer(1, VRING_DESC_F_NEXT, 8));
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 3] loops break the ring") {
  Ring ring(8);
  SECTION("of one") {
    ring.driver.offer_descriptor(0, buffer(1, VRING_DESC_F_NEXT, 0));
  }
  SECTION("of two") {
    ring.driver.descriptor(1) = buffer(1, VRING_DESC_F_NEXT, 0);
    ring.driver.offer_descriptor(0, buffer(1, VRING_DESC_F_NEXT, 1));
  }
  SECTION("of the whole ring") {
    for (u16 i = 0; i < 8; ++i) ring.driver.descriptor(i) = buffer(1, VRING_DESC_F_NEXT, (i + 1) % 8);
    ring.driver.offer_head(3);
  }
  SECTION("within an indirect table") {
    ring.driver.offer_descriptor(0, indirect_to(ring.driver, {buffer(1, VRING_DESC_F_NEXT, 0)}));
  }
  SECTION("of nothing") {
    ring.driver.offer_descriptor(0, buffer(0, VRING_DESC_F_NEXT, 0));
  }
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 4] an indirect table that was not negotiated breaks the ring") {
  Ring ring(8, kPlain);
  ring.driver.chain().reads(u8{1}).indirect().offer();
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 5] an indirect table with a next breaks the ring") {
  Ring ring;
  vring_desc table = indirect_to(ring.driver, {buffer(1, 0)});
  table.flags |= VRING_DESC_F_NEXT;
  ring.driver.offer_descriptor(0, table);
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 6] an indirect table within one breaks the ring") {
  Ring ring;
  const vring_desc inner = indirect_to(ring.driver, {buffer(1, 0)});
  ring.driver.offer_descriptor(0, indirect_to(ring.driver, {inner}));
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 7] an indirect table of no or of broken length breaks the ring") {
  Ring ring;
  vring_desc table = indirect_to(ring.driver, {buffer(1, 0), buffer(1, 0)});
  table.len = GENERATE(0, 1, 15, 17, 31);
  ring.driver.offer_descriptor(0, table);
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 7] a next beyond the indirect table breaks the ring") {
  Ring ring;
  ring.driver.offer_descriptor(
      0, indirect_to(ring.driver, {buffer(1, VRING_DESC_F_NEXT, 2), buffer(1, VRING_DESC_F_NEXT, 1)}));
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: an indirect table may be longer than the queue, as Linux makes them") {
  Ring ring(8);
  const u32 entries = GENERATE(9u, u32{kMaxQueueSize});
  std::vector<vring_desc> table;
  for (u16 next = 1; next < entries; ++next) table.push_back(buffer(1, VRING_DESC_F_NEXT, next));
  table.push_back(buffer(1, VRING_DESC_F_WRITE));
  ring.driver.offer_descriptor(0, indirect_to(ring.driver, table));
  const std::optional<DescriptorChain> chain = ring.device.pop();
  REQUIRE(chain);
  CHECK(chain->readable.size() == entries - 1);
  CHECK(chain->writable.size() == 1);
}

TEST_CASE("virtqueue: a chain of more buffers than a queue can ever have breaks the ring") {
  Ring ring(8);
  std::vector<vring_desc> table;
  for (u16 next = 1; next < kMaxQueueSize; ++next) table.push_back(buffer(1, VRING_DESC_F_NEXT, next));
  table.push_back(buffer(1, 0));
  ring.driver.descriptor(7) = indirect_to(ring.driver, table);
  ring.driver.offer_descriptor(6, buffer(1, VRING_DESC_F_NEXT, 7));
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 8] an indirect table of more entries than any queue breaks the ring") {
  Ring ring(8);
  const u32 entries = GENERATE(kMaxQueueSize + 1u, 1u << 16, 1u << 27, (1u << 28) - 1);
  ring.driver.offer_descriptor(0, {.addr = FakeRam::kStart,
                                   .len = entries * u32{sizeof(vring_desc)},
                                   .flags = VRING_DESC_F_INDIRECT,
                                   .next = 0});
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 9] an indirect table that is not in RAM, or not whole, breaks the ring") {
  Ring ring;
  const u64 gpa = GENERATE(u64{0}, FakeRam::kStart - 16, FakeRam::kEnd - 16, FakeRam::kEnd, ~u64{0} - 31,
                           ~u64{0} - 15, ~u64{0});
  ring.driver.offer_descriptor(0, {.addr = gpa, .len = 32, .flags = VRING_DESC_F_INDIRECT, .next = 0});
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 10] an indirect table needs no alignment") {
  Ring ring;
  ring.driver.allocate(1);
  const vring_desc entry = buffer(7, VRING_DESC_F_WRITE);
  const GuestAddress gpa = ring.driver.allocate(16) + 0;
  REQUIRE(address(gpa) % 2 == 1);
  std::memcpy(ring.driver.memory.slice(gpa, 16)->data(), &entry, 16);
  ring.driver.offer_descriptor(0,
                               {.addr = address(gpa), .len = 16, .flags = VRING_DESC_F_INDIRECT, .next = 0});
  CHECK(ring.device.pop()->writable.size() == 7);
}

TEST_CASE("virtqueue: [case 11] an address and length that overflow break the ring") {
  Ring ring;
  const u64 gpa = GENERATE(~u64{0}, ~u64{0} - 14, u64{0xffff'ffff'ffff'0000});
  const u32 length = static_cast<u32>(u64{0} - gpa) + GENERATE(0u, 1u, 0x7fff'0000u);
  ring.driver.chain().writes_at(gpa, length).offer();
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 12] [case 13] a buffer that is not in RAM is delivered as a hole") {
  Ring ring;
  SECTION("wholly") {
    ring.driver.chain().writes_at(0xd000'6000, 4).offer();
  }
  SECTION("one byte beyond the end") {
    ring.driver.chain().writes_at(FakeRam::kEnd - 3, 4).offer();
  }
  SECTION("from below") {
    ring.driver.chain().writes_at(FakeRam::kStart - 1, 4).offer();
  }
  SECTION("up to the last address there is") {
    ring.driver.chain().writes_at(~u64{0} - 4, 4).offer();
  }
  std::optional<DescriptorChain> chain = ring.device.pop();
  REQUIRE(chain);
  CHECK(chain->writable.has_hole());
  CHECK_FALSE(chain->readable.has_hole());
  CHECK(chain->writable.size() == 4);
  CHECK(chain->writable.iovecs().back().iov_base ==
        (chain->writable.iovecs().size() == 2 ? nullptr : chain->writable.iovecs().front().iov_base));
}

TEST_CASE("virtqueue: [case 13] a buffer over two adjoining regions is served as two pieces") {
  Ring ring;
  ring.driver.chain().writes_at(FakeRam::kBoundary - 3, 8).offer();
  std::optional<DescriptorChain> chain = ring.device.pop();
  REQUIRE(chain);
  CHECK_FALSE(chain->writable.has_hole());
  REQUIRE(chain->writable.iovecs().size() == 2);
  CHECK(chain->writable.iovecs()[0].iov_len == 3);
  CHECK(chain->writable.iovecs()[1].iov_base ==
        ring.driver.memory.slice(guest(FakeRam::kBoundary), 1)->data());
}

TEST_CASE("virtqueue: [case 14] empty buffers are skipped wherever they are") {
  Ring ring;
  ring.driver.chain().writes_at(0, 0).reads(u8{7}).reads_at(0, 0).writes(2).reads_at(0, 0).offer();
  std::optional<DescriptorChain> chain = ring.device.pop();
  REQUIRE(chain);
  CHECK(chain->readable.iovecs().size() == 1);
  CHECK(chain->writable.iovecs().size() == 1);
}

TEST_CASE("virtqueue: [case 14] a chain of nothing is served") {
  Ring ring;
  ring.driver.chain().writes_at(0, 0).offer();
  std::optional<DescriptorChain> chain = ring.device.pop();
  REQUIRE(chain);
  CHECK(chain->readable.empty());
  CHECK(chain->writable.empty());
}

TEST_CASE("virtqueue: [case 15] more than 4 GiB in one chain breaks the ring, just 4 GiB does not") {
  Ring ring;
  ring.driver.chain().writes_at(FakeRam::kStart, 0xffff'ffff).writes_at(FakeRam::kStart, 1).offer();
  CHECK(ring.device.pop()->writable.size() == 4_GiB);
  ring.driver.chain().writes_at(FakeRam::kStart, 0xffff'ffff).writes_at(FakeRam::kStart, 2).offer();
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 16] a writable buffer before a readable one breaks the ring") {
  Ring ring;
  ring.driver.chain().writes(1).reads(u8{1}).offer();
  CHECK(ring.breaks());
}

TEST_CASE("virtqueue: [case 20] a head that is offered again while it is in flight breaks the ring") {
  Ring ring;
  ring.driver.chain().writes(1).offer();
  const std::optional<DescriptorChain> chain = ring.device.pop();
  ring.driver.offer_head(chain->head());
  CHECK_FALSE(ring.device.pop());
  CHECK(ring.device.broken());
}

TEST_CASE("virtqueue: [case 20] a chain that ends after the ring broke writes nothing") {
  Ring ring;
  ring.driver.chain().writes(1).offer();
  {
    const std::optional<DescriptorChain> chain = ring.device.pop();
    ring.device.mark_broken();
  }
  CHECK_FALSE(ring.device.publish());
  CHECK(ring.driver.used_index() == 0);
  CHECK(ring.driver.used_ring(0).len == 0);
}

// Unordered stores, as another vCPU makes them.
[[gnu::no_sanitize("thread")]] void keep_flipping(vring_desc& shared, const std::atomic<bool>& stop) {
  volatile vring_desc& descriptor = shared;
  while (!stop.load(std::memory_order_relaxed)) {
    descriptor.addr = FakeRam::kStart;
    descriptor.len = 16;
    descriptor.flags = 0;
    descriptor.addr = ~u64{0} - 8;
    descriptor.len = ~0u;
    descriptor.flags = VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE;
  }
}

TEST_CASE("virtqueue: [case 18] a descriptor that another vCPU flips is read once: checked is what is used") {
  Ring ring(8, kIndirect);
  std::atomic<bool> stop = false;
  std::thread attacker([&] { keep_flipping(ring.driver.descriptor(0), stop); });
  const GuestMemory::Region ram = ring.driver.memory.regions().front();
  u32 served = 0;
  for (u32 round = 0; round < 1'000'000; ++round) {
    Virtqueue device(ring.driver.memory, ring.driver.layout, kIndirect);
    ring.driver.avail_ring(0) = 0;
    ring.driver.avail_index() = 1;
    const std::optional<DescriptorChain> chain = device.pop();
    if (!chain) continue;
    ++served;
    for (const Segments* const half : {&chain->readable, &chain->writable}) {
      if (half->has_hole()) continue;
      for (const iovec& piece : half->iovecs()) {
        const u8* const start = static_cast<const u8*>(piece.iov_base);
        if (start < ram.bytes.data() || piece.iov_len > 16) FAIL("a buffer that no descriptor had");
      }
    }
  }
  stop = true;
  attacker.join();
  CHECK(served > 0);
}

TEST_CASE("virtqueue: [case 21] descriptors that change after they were taken change nothing") {
  Ring ring;
  const auto at = ring.driver.chain().writes(16).offer();
  const std::optional<DescriptorChain> chain = ring.device.pop();
  ring.driver.descriptor(chain->head()) = {.addr = 0, .len = ~0u, .flags = 0xffff, .next = 0xffff};
  CHECK(chain->writable.size() == 16);
  CHECK(chain->writable.iovecs()[0].iov_base == ring.driver.memory.slice(at[0], 1)->data());
}

TEST_CASE("virtqueue: [case 22] rings that overlap each other and buffers confuse the driver only") {
  FakeRam ram;
  const GuestAddress gpa = ram.allocate(4096, 16);
  const Virtqueue::Layout layout{.size = 4, .descriptors = gpa, .driver_area = gpa, .device_area = gpa};
  REQUIRE(Virtqueue::valid(ram.memory(), layout, 8));
  const std::span<u8> bytes = ram.memory().slice(gpa, 64).value();
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    for (u8& byte : bytes) byte = static_cast<u8>(random());
    Virtqueue device(ram.memory(), layout, kCommonFeatures);
    for (int i = 0; i < 8; ++i) {
      std::optional<DescriptorChain> chain = device.pop();
      if (chain) chain->writable.copy_in(std::vector<u8>(chain->writable.size() % 64, 0xff));
      chain.reset();
      device.publish();
      device.enable_notifications();
    }
  }
}

TEST_CASE("virtqueue: [case 23] [case 24] [case 25] layouts that cannot be served are not valid") {
  FakeRam ram;
  const GuestAddress gpa = ram.allocate(4096, 4096);
  const Virtqueue::Layout good{
      .size = 8, .descriptors = gpa, .driver_area = gpa + 128, .device_area = gpa + 256};
  const auto valid = [&](const Virtqueue::Layout& layout) {
    return Virtqueue::valid(ram.memory(), layout, 8);
  };
  CHECK(valid(good));
  for (const u16 size : {0, 3, 7, 9, 16, 0x8000, 0xffff}) {
    Virtqueue::Layout bad = good;
    bad.size = size;
    CHECK_FALSE(valid(bad));
  }
  for (const u64 bad : {address(gpa) + 1, FakeRam::kEnd - 16, FakeRam::kEnd, u64{0}, ~u64{0}, ~u64{0} - 15}) {
    Virtqueue::Layout one = good, two = good, three = good;
    one.descriptors = two.driver_area = three.device_area = guest(bad);
    CHECK_FALSE(valid(one));
    CHECK_FALSE(valid(two));
    CHECK_FALSE(valid(three));
  }
  Virtqueue::Layout bad = good;
  bad.descriptors = gpa + 8;
  CHECK_FALSE(valid(bad));
  bad = good;
  bad.device_area = gpa + 258;
  CHECK_FALSE(valid(bad));
  bad = good;  // fits to the last byte, then one too far
  bad.device_area = guest(FakeRam::kEnd - 72);
  CHECK(valid(bad));
  bad.device_area = guest(FakeRam::kEnd - 68);
  CHECK_FALSE(valid(bad));
}

TEST_CASE("virtqueue: [case 28] random event indexes and flags break nothing") {
  Ring ring(4);
  std::mt19937 random(2);
  for (int i = 0; i < 10'000; ++i) {
    ring.driver.used_event() = static_cast<u16>(random());
    ring.driver.avail_flags() = static_cast<u16>(random());
    ring.driver.avail_event() = static_cast<u16>(random());
    ring.driver.offer_descriptor(0, buffer(1, VRING_DESC_F_WRITE));
    REQUIRE(ring.device.pop());
    ring.device.publish();
    ring.device.enable_notifications();
  }
  CHECK(ring.driver.used_index() == 10'000);
}

TEST_CASE("virtqueue: [case 32] 200,000 requests go through, and the indexes wrap") {
  Ring ring(8, kEventIndex);
  u32 interrupts = 0;
  for (u32 i = 0; i < 200'000; ++i) {
    ring.driver.used_event() = ring.driver.used_index();
    ring.driver.offer_descriptor(static_cast<u16>(i % 8), buffer(1, VRING_DESC_F_WRITE));
    REQUIRE(ring.device.pop());
    interrupts += ring.device.publish();
  }
  CHECK(interrupts == 200'000);
  CHECK(ring.driver.used_index() == u16(200'000));
}

TEST_CASE("virtqueue: nothing is allocated for chains after the first ones") {
  Ring ring(8);
  const auto round = [&ring] {
    ring.driver.avail_index() = 0;
    Virtqueue device(ring.driver.memory, ring.driver.layout, kIndirect);
    std::vector<const iovec*> where;
    for (u32 i = 0; i < 40; ++i) {
      ring.driver.offer_descriptor(static_cast<u16>(i % 8), buffer(8, VRING_DESC_F_WRITE));
      where.push_back(device.pop()->writable.iovecs().data());
    }
    return where;
  };
  const auto where = round();
  CHECK(std::ranges::count(where, where[0]) == 40);
}

}  // namespace
}  // namespace uvmm
