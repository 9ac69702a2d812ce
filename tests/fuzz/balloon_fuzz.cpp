// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a balloon whose driver gives back anything. Whatever it says: the host is asked only for whole
// pages of RAM, one run of them for each queue at a time, and in the end all buffers are back.
#include <sys/mman.h>

#include <optional>
#include <vector>

#include "devices/balloon.h"
#include "devices/virtio/spec.h"
#include "tests/fakes/fake_io.h"
#include "tests/fuzz/fuzz.h"

using namespace uvmm;

namespace {

constexpr u16 kRing = 64;

struct World {
  World(FuzzedDataProvider& choices, FakeRam& ram)
      : input(choices),
        ram(ram),
        pages(ram, kRing),
        reports(ram, kRing),
        says(ram, kRing),
        balloon(io, ram.memory(), {}, log) {
    inflate.emplace(balloon.io(), pages);
    reporting.emplace(balloon.io(), reports);
    statistics.emplace(balloon.io(), says);
    balloon.start(feature(VIRTIO_BALLOON_F_STATS_VQ));
    tasks.spawn(balloon.run(inflate->queue, Balloon::kInflateQueue));
    tasks.spawn(balloon.run(reporting->queue, Balloon::kReportingQueue));
    tasks.spawn(balloon.run(statistics->queue, Balloon::kStatsQueue));
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 6)) {
      case 0:
        give_pages();
        break;
      case 1:
        report();
        break;
      case 2: {
        const std::vector<u8> bytes = input.ConsumeBytes<u8>(4);
        balloon.write_config(input.ConsumeIntegralInRange<u32>(0, 12), bytes);
        break;
      }
      case 3:
        say();
        break;
      case 4:
        balloon.ask_for_stats();
        io.end_turn();
        break;
      default:
        if (!io.empty()) end_one();
        break;
    }
    require(io.size() <= 2);
    require(balloon.actual_bytes() <= FakeRam::kEnd - FakeRam::kStart);
    while (pages.take_used() || reports.take_used() || says.take_used()) {
    }
  }

  void finish() {
    inflate->queue.stop();
    reporting->queue.stop();
    statistics->queue.stop();
    balloon.stop();
    require(io.drain([this] { end_one(); }));
    require(tasks.empty());
    require(inflate->queue.chains_out() == 0 && reporting->queue.chains_out() == 0 &&
            statistics->queue.chains_out() == 0);
  }

 private:
  bool has_room(FakeDriver& driver, Queue& queue) {
    return driver.free_descriptors() >= 4 && !queue.stopped();
  }

  void give_pages() {
    if (!has_room(pages, inflate->queue)) return;
    const std::vector<u8> bytes = input.ConsumeBytes<u8>(input.ConsumeIntegralInRange<u32>(0, 64));
    std::vector<le32> numbers;
    for (const u8 byte : bytes)
      numbers.push_back(byte < 250 ? 0x80 + byte * 4u / 3 : input.ConsumeIntegral<u32>());
    pages.chain().reads({reinterpret_cast<const u8*>(numbers.data()), numbers.size() * sizeof(le32)}).offer();
    inflate->queue.notify();
    io.end_turn();
  }

  void say() {
    if (!has_room(says, statistics->queue)) return;
    says.chain().reads(input.ConsumeBytes<u8>(input.ConsumeIntegralInRange<u32>(0, 64))).offer();
    statistics->queue.notify();
    io.end_turn();
  }

  void report() {
    if (!has_room(reports, reporting->queue)) return;
    auto chain = reports.chain();
    for (u32 i = input.ConsumeIntegralInRange<u32>(1, 3); i > 0; --i) {
      const u64 at = FakeRam::kStart + input.ConsumeIntegralInRange<u64>(0, 3_MiB);
      chain.writes_at(at, input.ConsumeBool() ? input.ConsumeIntegral<u16>() : input.ConsumeIntegral<u32>());
    }
    chain.offer();
    reporting->queue.notify();
    io.end_turn();
  }

  void end_one() {
    const u32 i = input.ConsumeIntegralInRange<u32>(0, io.size() - 1);
    const Op& op = io.pending(i);
    if (op.kind == Op::Kind::kMadvise) {
      const u64 start = reinterpret_cast<u64>(op.address);
      require(start % kPageSize == 0 && op.length % kPageSize == 0 && op.length > 0);
      bool is_ram = false;
      for (const GuestMemory::Region& region : ram.memory().regions()) {
        const u64 offset = start - reinterpret_cast<u64>(region.bytes.data());
        is_ram |= offset < region.bytes.size() && op.length <= region.bytes.size() - offset;
      }
      require(is_ram && op.flags == MADV_DONTNEED);
    }
    io.finish(i, input.ConsumeBool() ? 0 : -EINVAL);
  }

  FuzzedDataProvider& input;
  FakeRam& ram;
  Log log;
  FakeIo io;
  FakeDriver pages;
  FakeDriver reports;
  FakeDriver says;
  Balloon balloon;
  std::optional<FakeQueue> inflate;
  std::optional<FakeQueue> reporting;
  std::optional<FakeQueue> statistics;
  TaskScope tasks;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run_program<World>(data, size);
  return 0;
}
