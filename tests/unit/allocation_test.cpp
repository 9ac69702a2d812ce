// SPDX-License-Identifier: Apache-2.0
// No device allocates once it is warm: neither for a request nor for what the host says to it. Counted by the
// address sanitizer, which sees every allocation of the process.
#ifdef __SANITIZE_ADDRESS__
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "devices/block.h"
#include "devices/console.h"
#include "devices/net.h"
#include "devices/passt.h"
#include "devices/rng.h"
#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/fake_card.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_net_end.h"
#include "vmm/base/uring.h"

// As in sanitizer/allocator_interface.h, which g++ does not come with.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, std::size_t),
                                                         void (*on_free)(const volatile void*));

namespace uvmm {
namespace {

thread_local bool counting = false;
u64 counted = 0;

// The allocations of this thread while one of these lives are counted.
struct Counting {
  Counting() {
    static const int installed = ::__sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, std::size_t) { counted += counting; }, [](const volatile void*) {});
    REQUIRE(installed > 0);
    counting = true;
  }
  ~Counting() { counting = false; }
};

// How many allocations rounds of the same work make after as many that warm up.
template <typename Round>
u64 allocations_of(Round round) {
  constexpr int kRounds = 50;
  for (int i = 0; i < kRounds; ++i) round();
  counted = 0;
  for (int i = 0; i < kRounds; ++i) round();
  return counted;
}

// A started device behind its transport, with interrupts, and one driver for each of its queues, which are
// three at most.
struct Running {
  Running(FakeIo& io, VirtioDevice& device, u64 features) : card(io, device, ram.memory()) {
    card.negotiate(features);
    card.enable_msix();
    for (u16 i = 0; i < device.queue_sizes().size(); ++i) {
      card.enable_queue(i, drivers[i].layout);
      card.write<u16>(VIRTIO_PCI_COMMON_Q_MSIX, i);
      card.unmask(i);
    }
    card.driver_ok();
  }

  // The device serves queue `index`, and the host ends what it is asked for, except what `end_operation`
  // leaves.
  template <typename End>
  void serve(u16 index, End end_operation) {
    {
      const Counting count;
      card.notify(index);
      card.io.end_turn();
      for (u32 i = 0; i < card.io.size();) {
        const bool is_doorbell = card.io.pending(i).kind == Op::Kind::kPollMultishot;
        i = !is_doorbell && end_operation(i) ? 0 : i + 1;
      }
    }
    while (drivers[index].take_used()) {
    }
  }

  FakeRam ram;
  FakeDriver drivers[3] = {FakeDriver(ram, 64), FakeDriver(ram, 64), FakeDriver(ram, 64)};
  FakeCard card;
};

// Requests of all kinds, in buffers that are used again and again.
struct BlockRequests {
  static constexpr u32 kBytes = 3 * 4096;
  explicit BlockRequests(FakeDriver& its) : driver(its) {}

  void offer(u32 type, u64 sector = 0) {
    const u64 where = address(header) + next++ % 8 * sizeof(virtio_blk_outhdr);
    driver.field<virtio_blk_outhdr>(guest(where)) = {.type = type, .ioprio = 0, .sector = sector};
    auto chain = driver.chain();
    chain.reads_at(where, sizeof(virtio_blk_outhdr));
    if (type == VIRTIO_BLK_T_OUT) chain.reads_at(address(data) + 1, kBytes);
    if (type == VIRTIO_BLK_T_IN)
      chain.writes_at(address(data), 512).writes_at(address(data) + 512, kBytes - 512);
    if (type == VIRTIO_BLK_T_GET_ID) chain.writes_at(address(data), VIRTIO_BLK_ID_BYTES);
    if (type == VIRTIO_BLK_T_WRITE_ZEROES || type == VIRTIO_BLK_T_DISCARD)
      chain.reads_at(address(range), sizeof(virtio_blk_discard_write_zeroes));
    chain.writes_at(address(status), 1).offer();
  }
  void offer_all() {
    for (const u32 type : {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_WRITE_ZEROES,
                           VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_OUT, 77}) {
      offer(type);
    }
  }

  FakeDriver& driver;
  const GuestAddress header = driver.allocate(8 * sizeof(virtio_blk_outhdr), 8);
  const GuestAddress data = driver.allocate(kBytes + 1, 4096);
  const GuestAddress status = driver.allocate(1);
  const GuestAddress range = driver.allocate(sizeof(virtio_blk_discard_write_zeroes), 8);
  u64 next = 0;
};

constexpr u64 kBlockFeatures = feature(VIRTIO_BLK_F_DISCARD) | feature(VIRTIO_BLK_F_WRITE_ZEROES);

}  // namespace

TEST_CASE("allocations: a warm disk makes none") {
  const bool direct = GENERATE(false, true), flush = GENERATE(false, true);
  DiskImage::Geometry geometry{.bytes = 1_MiB, .can_discard = true};
  if (direct) geometry.memory_alignment = 512;
  Log log;
  FakeIo io;
  Block block(io, DiskImage(Fd(), "a.img", false, geometry), {.queues = 2}, log);
  Running running(io, block, kCommonFeatures | kBlockFeatures | (flush ? feature(VIRTIO_BLK_F_FLUSH) : 0));
  BlockRequests requests(running.drivers[1]);
  requests.driver.field<virtio_blk_discard_write_zeroes>(requests.range) = {
      .sector = 3, .num_sectors = 4, .flags = 0};
  u32 turn = 0;
  const u64 allocations = allocations_of([&] {
    requests.offer_all();
    running.serve(1, [&](u32 i) {
      const Op& op = io.pending(i);
      const bool moves = op.kind == Op::Kind::kReadv || op.kind == Op::Kind::kWritev;
      const i32 whole = moves ? static_cast<i32>(op.length) : op.kind == Op::Kind::kTimeout ? -ETIME : 0;
      i32 result = whole;
      if (moves && ++turn % 3 == 0) result = whole > 512 ? 512 : -EAGAIN;
      io.finish(i, result);
      return true;
    });
  });
  CHECK(allocations == 0);
}

TEST_CASE("allocations: a warm disk makes none on the real ring") {
  const TemporaryDirectory directory;
  const std::string path = directory.sparse_file("a.img", 1_MiB);
  Log log;
  const auto uring = Uring::create(64).value();
  FakeDriver driver(64);
  Block block(*uring, DiskImage::open({.path = path}, false).value(), {}, log);
  FakeQueue queue(block.io(), driver);
  block.start(FakeDriver::kAllFeatures | kBlockFeatures | feature(VIRTIO_BLK_F_FLUSH));
  TaskScope tasks;
  tasks.spawn(block.run(queue.queue, 0));
  uring->stop();
  uring->run();  // once, so that it may be turned here
  BlockRequests requests(driver);
  // All of one shape: the disk decides which request gets whose room, and room for larger ones is made once.
  const u64 allocations = allocations_of([&] {
    for (u64 i = 0; i < 8; ++i) requests.offer(VIRTIO_BLK_T_IN, i);
    {
      const Counting count;
      queue.queue.notify();
      uring->turn_until([&] { return queue.queue.chains_out() == 0; });
    }
    while (driver.take_used()) {
    }
  });
  CHECK(allocations == 0);
  queue.queue.stop();
  uring->drain();
}

TEST_CASE("allocations: a warm console makes none") {
  Log log;
  FakeIo io;
  const ConsoleConfig config{.kind = ConsoleConfig::Kind::kStreams,
                             .input_fd = 1000,
                             .output_fd = 1001,
                             .escape = GENERATE(false, true)};
  const std::unique_ptr<ConsoleEnd> end = ConsoleEnd::open(io, config, log).value();
  {
    Console console(io, *end, log);
    Running running(io, console, kCommonFeatures);
    end->start();
    const GuestAddress buffer = running.drivers[0].allocate(4096);
    constexpr i32 kTyped = 100;
    const u64 allocations = allocations_of([&] {
      for (int i = 0; i < 5; ++i) running.drivers[0].chain().writes_at(address(buffer), 20).offer();
      for (int i = 0; i < 8; ++i) running.drivers[1].chain().reads_at(address(buffer), 3000).offer();
      bool has_typed = false;
      for (const u16 queue : {Console::kReceiveQueue, Console::kTransmitQueue}) {
        running.serve(queue, [&](u32 i) {
          switch (io.pending(i).kind) {
            case Op::Kind::kPoll:
              if (std::exchange(has_typed, true)) return false;
              io.finish(i, POLLIN);
              return true;
            case Op::Kind::kRead:
              std::memset(const_cast<void*>(io.pending(i).address), 'a', kTyped);
              io.finish(i, kTyped);
              return true;
            case Op::Kind::kNop:
              io.finish(i, 0);
              return true;
            default:  // output, interrupts
              io.finish(i, static_cast<i32>(io.pending(i).count));
              return true;
          }
        });
      }
    });
    CHECK(allocations == 0);
  }
  end->close();
  io.drain([&] { io.finish_all(0); });
}

TEST_CASE("allocations: a warm rng makes none") {
  FakeIo io;
  Rng rng(io, [](void*, std::size_t bytes, unsigned) { return static_cast<ssize_t>(bytes / 2 + 1); });
  Running running(io, rng, kCommonFeatures);
  const GuestAddress buffer = running.drivers[0].allocate(64_KiB);
  const u64 allocations = allocations_of([&] {
    for (int i = 0; i < 4; ++i) running.drivers[0].chain().writes_at(address(buffer), 10'000).offer();
    running.serve(0, [&](u32 i) {
      io.finish(i, 8);
      return true;
    });
  });
  CHECK(allocations == 0);
}

constexpr u32 kFrame = 1500, kFrames = 8;  // bytes with the header, each in two buffers
constexpr u64 kNetFeatures = kCommonFeatures | feature(VIRTIO_NET_F_MRG_RXBUF);

void offer_frames(Running& running, GuestAddress buffer) {
  for (u32 i = 0; i < 2 * kFrames; ++i) running.drivers[0].chain().writes_at(address(buffer), 900).offer();
  for (u32 i = 0; i < kFrames; ++i) running.drivers[1].chain().reads_at(address(buffer), kFrame).offer();
}

TEST_CASE("allocations: a warm network device makes none") {
  Log log;
  FakeIo io;
  FakeNetEnd end;
  Net net(io, end, {.name = "net"}, log);
  Running running(io, net, kNetFeatures);
  const GuestAddress buffer = running.drivers[0].allocate(kFrame);
  u64 received = 0;
  const u64 allocations = allocations_of([&] {
    offer_frames(running, buffer);
    end.arriving[0].assign(kFrames, std::vector<u8>(kFrame));
    running.serve(1, [&](u32 i) {
      if (io.pending(i).kind == Op::Kind::kPoll) return false;
      io.finish(i, io.pending(i).kind == Op::Kind::kWritev ? i32{kFrame} : 0);
      return true;
    });
    running.serve(0, [&](u32 i) {
      const bool is_poll = io.pending(i).kind == Op::Kind::kPoll;
      if (is_poll && end.arriving[0].empty()) return false;
      io.finish(i, is_poll ? POLLIN : 0);
      return true;
    });
    received += end.arriving[0].empty();
  });
  CHECK(allocations == 0);
  CHECK(received == 100);
}

TEST_CASE("allocations: a warm stream of frames makes none") {
  Log log;
  FakeIo io;
  const auto end = PasstEnd::start({"sh", "-c", "exec cat <&3 >&3"}, 0, log, [] { return i64{0}; }).value();
  Net net(io, *end, {.name = "net"}, log);
  Running running(io, net, kNetFeatures);
  const GuestAddress buffer = running.drivers[0].allocate(kFrame);
  const u64 allocations = allocations_of([&] {
    offer_frames(running, buffer);
    const auto wait = [&](u32 i) {
      const Op& op = io.pending(i);
      pollfd ready{.fd = op.fd, .events = static_cast<short>(op.flags), .revents = 0};
      if (op.kind == Op::Kind::kPoll) ::poll(&ready, 1, 10'000);
      io.finish(i, op.kind == Op::Kind::kPoll ? ready.revents : 0);
      return true;
    };
    running.serve(1, wait);
    running.serve(0, wait);
  });
  CHECK(allocations == 0);
  CHECK(running.drivers[0].used_index() == 100 * 2 * kFrames);
}

}  // namespace uvmm
#endif
