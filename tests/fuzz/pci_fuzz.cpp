// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a virtio-pci function that the guest reads and writes as it likes, through its BAR, its
// configuration space and its queues, while host operations end at any time. Each input ends with a reset,
// which must end.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "devices/virtio/pci_transport.h"
#include "tests/fakes/fake_device.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

using namespace uvmm;

namespace {

struct Card {
  explicit Card(FakeDriver& driver) : ring(driver) {}

  void write(u32 offset, u64 value, u32 length) {
    transport.write_bar(offset, {reinterpret_cast<const u8*>(&value), length});
  }
  // What an honest driver does, so that inputs need not discover it.
  void start() {
    for (const u8 status : {1, 3}) write(VIRTIO_PCI_COMMON_STATUS, status, 1);
    for (const u32 select : {0u, 1u}) {
      write(VIRTIO_PCI_COMMON_GFSELECT, select, 4);
      write(VIRTIO_PCI_COMMON_GF, kCommonFeatures >> 32 * select, 4);
    }
    write(VIRTIO_PCI_COMMON_STATUS, 11, 1);
    write(VIRTIO_PCI_COMMON_Q_DESCLO, address(ring.layout.descriptors), 4);
    write(VIRTIO_PCI_COMMON_Q_AVAILLO, address(ring.layout.driver_area), 4);
    write(VIRTIO_PCI_COMMON_Q_USEDLO, address(ring.layout.device_area), 4);
    write(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
    write(VIRTIO_PCI_COMMON_STATUS, 15, 1);
  }
  // True if the reset ended and the function is as new.
  bool reset() {
    write(VIRTIO_PCI_COMMON_STATUS, 0, 1);
    for (int turns = 0; turns < 100 && registers[VIRTIO_PCI_COMMON_STATUS] != 0; ++turns)
      io.finish_cancelled();
    while (!io.empty()) io.finish_all(0);
    return registers[VIRTIO_PCI_COMMON_STATUS] == 0 && transport.stopped();
  }

  FakeIo io;
  FakeDriver& ring;
  Log log;
  FakeMsiRouter router;
  FakeDevice device{io};
  std::vector<u8> config_page = std::vector<u8>(ConfigSpace::kBytes);
  std::vector<u8> registers = std::vector<u8>(PciTransport::kRegisterPagesBytes);
  std::array<InterruptLine, 3> lines{{{0, 100}, {1, 101}, {2, 102}}};
  std::array<int, 2> doorbells{70, 71};
  PciTransport transport{device,
                         {.io = io,
                          .memory = ring.memory,
                          .log = log,
                          .router = router,
                          .name = "fuzz",
                          .bar_address = 0xd000'0000,
                          .config_page = config_page,
                          .register_pages = registers,
                          .lines = lines,
                          .doorbells = doorbells}};
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
  if (!card.reset()) std::abort();
  return 0;
}
