// SPDX-License-Identifier: Apache-2.0
#include "devices/balloon.h"

#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

constexpr u32 page_of(u64 gpa) {
  return static_cast<u32>(gpa / Balloon::kPageBytes);
}

struct Fixture {
  explicit Fixture(BalloonOptions options = {}) : balloon(io, driver.memory, options, log) {}
  ~Fixture() {
    queue.queue.stop();
    balloon.io().cancel_all();
    balloon.stop();
    CHECK(io.drain([&] { io.finish_all(0); }));
    CHECK(tasks.empty());
  }

  void say_stats(std::vector<virtio_balloon_stat> stats) {
    driver.chain()
        .reads(std::span(reinterpret_cast<const u8*>(stats.data()), stats.size() * sizeof stats[0]))
        .offer();
    kick();
  }
  void run(u16 index) { tasks.spawn(balloon.run(queue.queue, index)); }
  void kick() {
    queue.queue.notify();
    io.end_turn();
  }
  void inflate(std::vector<le32> pages) {
    driver.chain().reads(std::span(reinterpret_cast<const u8*>(pages.data()), pages.size() * 4)).offer();
    kick();
  }
  // What the oldest operation gives back, as guest addresses; it ends.
  std::pair<u64, u64> given_back() {
    REQUIRE_FALSE(io.empty());
    const Op& op = io.pending(0);
    CHECK(op.kind == Op::Kind::kMadvise);
    const std::pair<u64, u64> range(guest_address_of(op.address), op.length);
    io.finish(0, 0);
    return range;
  }
  u64 guest_address_of(const void* host) {
    for (const GuestMemory::Region& region : driver.memory.regions()) {
      const auto offset = static_cast<u64>(static_cast<const u8*>(host) - region.bytes.data());
      if (offset < region.bytes.size()) return address(region.start) + offset;
    }
    return 0;
  }

  std::vector<std::string> lines;
  Log log{[this](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning};
  FakeIo io;
  FakeDriver driver{64};
  Balloon balloon;
  FakeQueue queue{balloon.io(), driver};
  TaskScope tasks;
};

using Range = std::pair<u64, u64>;

}  // namespace

TEST_CASE("balloon: the guest may take pages back when it runs out of memory, unless it is told not to") {
  const bool deflates = GENERATE(true, false);
  const Fixture f({.deflate_on_oom = deflates});
  CHECK(has_feature(f.balloon.features(), VIRTIO_BALLOON_F_DEFLATE_ON_OOM) == deflates);
}

TEST_CASE("balloon: pages that the guest puts into it go back to the host, neighbours together") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  const u32 page = page_of(FakeRam::kStart) + 10;
  f.inflate({page, page + 1, page + 2, page + 7, page + 6});
  CHECK_FALSE(f.driver.take_used());
  CHECK(f.io.pending(0).flags == MADV_DONTNEED);
  CHECK(f.given_back() == Range(page * u64{4096}, 3 * 4096));
  CHECK(f.given_back() == Range((page + 6) * u64{4096}, 2 * 4096));
  CHECK(f.driver.take_used()->len == 0);
  CHECK(f.io.empty());
}

TEST_CASE("balloon: memory that is a file gets a hole") {
  Fixture f({.shared_memory = true});
  f.run(Balloon::kInflateQueue);
  f.inflate({page_of(FakeRam::kStart)});
  CHECK(f.io.pending(0).flags == MADV_REMOVE);
}

TEST_CASE("balloon: pages on both sides of a region's end are two parts") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  const u32 last = page_of(FakeRam::kBoundary) - 1;
  f.inflate({last, last + 1});
  CHECK(f.given_back() == Range(last * u64{4096}, 4096));
  CHECK(f.given_back() == Range(FakeRam::kBoundary, 4096));
  CHECK(f.driver.take_used());
}

TEST_CASE("[case 143] balloon: pages that are not RAM are passed over") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  f.inflate({page_of(FakeRam::kEnd), 0, 0xFFFF'FFFF, page_of(3_GiB), page_of(FakeRam::kStart)});
  CHECK(f.given_back() == Range(FakeRam::kStart, 4096));
  CHECK(f.driver.take_used());
  CHECK(f.io.empty());
}

TEST_CASE("[case 144] balloon: the guest may give its own rings away") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  const u32 ring = page_of(address(f.driver.layout.driver_area));
  f.inflate({ring});
  f.io.perform(0);  // truly: the ring is zeroes now
  CHECK(f.driver.avail_index() == 0);
}

TEST_CASE("[case 145] balloon: a length that is no number of pages loses its last bytes") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  const le32 page = page_of(FakeRam::kStart);
  std::vector<u8> bytes(7);
  std::memcpy(bytes.data(), &page, sizeof page);
  f.driver.chain().reads(std::span<const u8>(bytes)).offer();
  f.kick();
  CHECK(f.given_back() == Range(FakeRam::kStart, 4096));
  CHECK(f.driver.take_used());
}

TEST_CASE("[case 145] balloon: a million pages in one request let others run") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  auto chain = f.driver.chain();
  for (int i = 0; i < 4; ++i) chain.reads_at(FakeRam::kStart, 1_MiB);  // page 0xeeeeeeee, or of the rings
  chain.offer();
  f.kick();
  u32 turns = 0;
  for (; !f.driver.take_used(); ++turns) {
    REQUIRE(turns < 10'000);
    REQUIRE_FALSE(f.io.empty());
    f.io.finish_all(0);
  }
  CHECK(turns >= 1024);
}

TEST_CASE("balloon: what leaves it needs nothing of the host") {
  Fixture f;
  f.run(Balloon::kDeflateQueue);
  f.inflate({page_of(FakeRam::kStart), 0xFFFF'FFFF});
  CHECK(f.driver.take_used()->len == 0);
  CHECK(f.io.empty());
}

TEST_CASE("[case 146] balloon: pages may leave that were never in it") {
  Fixture f;
  f.run(Balloon::kDeflateQueue);
  for (int i = 0; i < 20; ++i) {
    f.inflate({page_of(FakeRam::kStart)});
    CHECK(f.driver.take_used());
  }
}

TEST_CASE("[case 146] balloon: its size is never more than the memory") {
  Fixture f;
  const le32 pages = 0xFFFF'FFFF;
  f.balloon.write_config(offsetof(virtio_balloon_config, actual),
                         {reinterpret_cast<const u8*>(&pages), sizeof pages});
  CHECK(f.balloon.actual_bytes() == FakeRam::kEnd - FakeRam::kStart);
  f.balloon.reset();
  CHECK(f.balloon.actual_bytes() == 0);
}

TEST_CASE("balloon: the target is in its configuration, in pages, and the guest learns when it changes") {
  struct Listener final : ConfigChangeListener {
    void config_changed() override { ++changes; }
    int changes = 0;
  } listener;
  Fixture f({.bytes = 64_KiB});
  const auto pages = [&] {
    virtio_balloon_config config;
    std::memcpy(&config, f.balloon.config().data(), sizeof config);
    return config.num_pages;
  };
  CHECK(pages() == 16);
  f.balloon.set_listener(&listener);
  f.balloon.set_target(128_KiB);
  CHECK(pages() == 32);
  CHECK(listener.changes == 1);
  f.balloon.set_target(1024_GiB);
  CHECK(pages() == page_of(FakeRam::kEnd - FakeRam::kStart));
}

TEST_CASE("balloon: of its configuration the driver writes only the actual size") {
  Fixture f;
  const std::vector<u8> bytes(sizeof(virtio_balloon_config), 1);
  f.balloon.write_config(0, bytes);
  virtio_balloon_config config;
  std::memcpy(&config, f.balloon.config().data(), sizeof config);
  CHECK(config.num_pages == 0);
  CHECK(config.actual == 0x0101'0101);
  CHECK(config.poison_val == 0);
}

TEST_CASE("balloon: free pages that are reported go back before they may be used again") {
  // As the specification counts the queues, and as drivers before Linux 6.11 do.
  const u16 index = GENERATE(Balloon::kReportingQueue, u16{2});
  Fixture f;
  f.run(index);
  f.driver.chain().writes_at(FakeRam::kStart + 64_KiB, 64_KiB).writes_at(FakeRam::kBoundary, 8_KiB).offer();
  f.kick();
  CHECK(f.given_back() == Range(FakeRam::kStart + 64_KiB, 64_KiB));
  CHECK_FALSE(f.driver.take_used());
  CHECK(f.given_back() == Range(FakeRam::kBoundary, 8_KiB));
  CHECK(f.driver.take_used()->len == 0);
}

TEST_CASE("[case 147] balloon: of a report the whole pages go back") {
  Fixture f;
  f.run(Balloon::kReportingQueue);
  f.driver.chain().writes_at(FakeRam::kStart + 100, 3 * 4096).writes_at(FakeRam::kStart + 1, 4094).offer();
  f.kick();
  CHECK(f.given_back() == Range(FakeRam::kStart + 4096, 2 * 4096));
  CHECK(f.driver.take_used());
  CHECK(f.io.empty());
}

TEST_CASE("[case 147] balloon: a report that leaves RAM is of no consequence") {
  Fixture f;
  f.run(Balloon::kReportingQueue);
  f.driver.chain().writes_at(FakeRam::kEnd - 4096, 0xFFFF'F000).offer();
  f.kick();
  CHECK(f.driver.take_used()->len == 0);
  CHECK(f.io.empty());
}

TEST_CASE("balloon: statistics stay with the device until it wants others") {
  Fixture f;
  f.balloon.start(feature(VIRTIO_BALLOON_F_STATS_VQ));
  f.run(Balloon::kStatsQueue);
  CHECK_FALSE(f.balloon.stat(VIRTIO_BALLOON_S_MEMFREE));
  f.say_stats(
      {{VIRTIO_BALLOON_S_MEMFREE, 1_MiB}, {VIRTIO_BALLOON_S_MAJFLT, 7}, {VIRTIO_BALLOON_S_MEMFREE, 2_MiB}});
  CHECK(f.balloon.stat(VIRTIO_BALLOON_S_MEMFREE) == 2_MiB);
  CHECK(f.balloon.stat(VIRTIO_BALLOON_S_MAJFLT) == 7);
  CHECK_FALSE(f.balloon.stat(VIRTIO_BALLOON_S_MEMTOT));
  CHECK_FALSE(f.driver.take_used());
  f.balloon.ask_for_stats();
  f.io.end_turn();
  CHECK(f.driver.take_used()->len == 0);
  f.say_stats({{VIRTIO_BALLOON_S_MEMFREE, 3_MiB}});
  CHECK(f.balloon.stat(VIRTIO_BALLOON_S_MEMFREE) == 3_MiB);
  CHECK_FALSE(f.driver.take_used());
}

TEST_CASE("balloon: statistics that are wanted before the driver has any come at once when it has") {
  Fixture f;
  f.balloon.start(feature(VIRTIO_BALLOON_F_STATS_VQ));
  f.run(Balloon::kStatsQueue);
  f.balloon.ask_for_stats();
  f.say_stats({{VIRTIO_BALLOON_S_MEMTOT, 4_MiB}});
  CHECK(f.balloon.stat(VIRTIO_BALLOON_S_MEMTOT) == 4_MiB);
  CHECK(f.driver.take_used());
}

TEST_CASE("[case 145] balloon: statistics of unknown kinds, half of one, and more than a buffer may have") {
  Fixture f;
  f.balloon.start(feature(VIRTIO_BALLOON_F_STATS_VQ));
  f.run(Balloon::kStatsQueue);
  std::vector<virtio_balloon_stat> stats(300, {VIRTIO_BALLOON_S_NR, 1});
  stats[1] = {0xffff, 2};
  stats[255] = {VIRTIO_BALLOON_S_MINFLT, 3};
  stats[256] = {VIRTIO_BALLOON_S_MINFLT, 4};
  f.say_stats(stats);
  CHECK(f.balloon.stat(VIRTIO_BALLOON_S_MINFLT) == 3);
  for (const u16 tag : {VIRTIO_BALLOON_S_MEMTOT, VIRTIO_BALLOON_S_NR, 0xffff})
    CHECK_FALSE(f.balloon.stat(static_cast<u16>(tag)));
  f.balloon.ask_for_stats();
  f.io.end_turn();
  CHECK(f.driver.take_used());
  f.driver.chain().reads(std::vector<u8>(9)).offer();
  f.kick();
  CHECK_FALSE(f.balloon.stat(VIRTIO_BALLOON_S_SWAP_IN));
}

TEST_CASE("balloon: a reset takes statistics back, and forgets them") {
  Fixture f;
  f.balloon.start(feature(VIRTIO_BALLOON_F_STATS_VQ));
  f.run(Balloon::kStatsQueue);
  f.say_stats({{VIRTIO_BALLOON_S_MEMFREE, 1}});
  f.queue.queue.stop();
  f.balloon.stop();
  CHECK(f.tasks.empty());
  f.balloon.reset();
  CHECK_FALSE(f.balloon.stat(VIRTIO_BALLOON_S_MEMFREE));
}

TEST_CASE("balloon: a host that does not take memory back costs a warning, once") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  for (int i = 0; i < 2; ++i) {
    f.inflate({page_of(FakeRam::kStart)});
    f.io.finish(0, -EINVAL);
    CHECK(f.driver.take_used());
  }
  CHECK(f.lines ==
        std::vector<std::string>{"balloon: cannot give memory back to the host: Invalid argument"});
}

TEST_CASE("balloon: a reset ends a request that is being served") {
  Fixture f;
  f.run(Balloon::kInflateQueue);
  const u32 page = page_of(FakeRam::kStart);
  f.inflate({page, page + 2, page + 4});
  f.queue.queue.stop();
  f.balloon.io().cancel_all();
  f.io.finish_cancelled();
  CHECK(f.tasks.empty());
  CHECK(f.io.empty());
}

}  // namespace uvmm
