// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a virtio-pci function that the guest reads and writes as it likes, through its BAR, its
// configuration space and its queues, while host operations end at any time. Each input ends with a reset,
// which must end.
#include <array>

#include "tests/fakes/fake_card.h"
#include "tests/fuzz/fuzz.h"

using namespace uvmm;

namespace {

struct Parts {
  FakeIo io;
  FakeDevice device{io};
};

struct Card : Parts, FakeCard {
  explicit Card(FakeDriver& driver) : FakeCard(Parts::io, Parts::device, driver.memory), ring(driver) {}

  // What an honest driver does, so that inputs need not discover it.
  void start() {
    negotiate();
    enable_queue(0, ring.layout);
    driver_ok();
  }

  using Parts::device;
  using Parts::io;
  FakeDriver& ring;
};

void complete_something(Card& card, FuzzedDataProvider& input) {
  if (card.io.empty()) return;
  const u32 which = input.ConsumeIntegralInRange<u32>(0, card.io.size() - 1);
  if (card.io.pending(which).kind == Op::Kind::kPollMultishot)
    card.io.fire(which, POLLIN);
  else
    card.io.finish(which, input.ConsumeIntegralInRange<i32>(-5, 5));
}

void change_ring(Card& card, FuzzedDataProvider& input) {
  const u16 slot = input.ConsumeIntegralInRange<u16>(0, 7);
  card.ring.avail_ring(slot) = input.ConsumeIntegralInRange<u16>(0, 8);
  card.ring.descriptor(slot) = {.addr = FakeRam::kStart + input.ConsumeIntegralInRange<u32>(0, 0x20'0010),
                                .len = input.ConsumeIntegral<u8>(),
                                .flags = input.ConsumeIntegralInRange<u16>(0, 7),
                                .next = input.ConsumeIntegralInRange<u16>(0, 8)};
  card.ring.avail_index() = static_cast<u16>(card.ring.avail_index() + input.ConsumeIntegral<signed char>());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FakeDriver driver(8);
  FuzzedDataProvider input(data, size);
  std::memset(driver.memory.slice(driver.layout.descriptors, 256)->data(), 0, 256);
  Card card(driver);
  card.device.wait_for_host = input.ConsumeBool();

  for (u32 step = 0; step < 2000 && input.remaining_bytes() > 0; ++step) {
    const u8 what = input.ConsumeIntegralInRange<u8>(0, 9);
    const u32 length = std::array{1u, 2u, 4u, 8u, 3u}[input.ConsumeIntegralInRange(0, 4)];
    const u32 page = input.ConsumeIntegralInRange<u32>(0, 8) * 0x1000;
    const u32 offset =
        page + (input.ConsumeBool() ? input.ConsumeIntegral<u8>() : input.ConsumeIntegral<u16>());
    u64 value = input.ConsumeBool() ? input.ConsumeIntegral<u8>() : input.ConsumeIntegral<u64>();
    const std::span<u8> bytes(reinterpret_cast<u8*>(&value), length);
    if (what == 0) card.transport.read_bar(offset, bytes);
    if (what == 1) card.transport.read_config(offset, bytes);
    if (what == 2) card.transport.write_config(offset & 0xff, bytes);
    if (what == 3) card.start();
    if (what == 4) change_ring(card, input);
    if (what == 5) complete_something(card, input);
    if (what == 6) card.io.finish_cancelled();
    if (what == 7) card.device.change(value);
    if (what >= 8) card.transport.write_bar(offset, bytes);
    card.io.end_turn();
  }
  require(card.reset());
  return 0;
}
