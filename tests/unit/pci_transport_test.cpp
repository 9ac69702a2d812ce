// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/pci_transport.h"

#include <linux/pci_regs.h>

#include <array>
#include <catch2/catch.hpp>
#include <random>

#include "tests/fakes/fake_card.h"
#include "tests/fakes/fake_driver.h"

namespace uvmm {
namespace {

constexpr u32 kTable = FakeCard::kMsixTable;
constexpr u32 kDeviceConfig = 0x3000;
constexpr u32 kPba = 0x4000;
constexpr u32 kIsr = 0x5000;
constexpr u32 kNotify = 0x6000;
constexpr u16 kNoVector = VIRTIO_MSI_NO_VECTOR;

struct Parts {
  FakeIo io;
  FakeDriver ring;
  FakeDevice device{io};
};

struct Card : Parts, FakeCard {
  Card() : FakeCard(Parts::io, Parts::device, ring.memory) {}

  void start() {
    negotiate();
    enable_queue(0, ring.layout);
    driver_ok();
  }
  void set_window(u8 bar, u32 offset, u32 length) {
    const u32 at = capability(VIRTIO_PCI_CAP_PCI_CFG);
    write_config<u8>(at + 4, bar);
    write_config<u32>(at + 8, offset);
    write_config<u32>(at + 12, length);
  }
  u32 window_data() const { return config<u32>(capability(VIRTIO_PCI_CAP_PCI_CFG) + 16); }

  using Parts::device;
  using Parts::io;
};

TEST_CASE("pci transport: ids, class and BAR") {
  Card card;
  CHECK(card.config<u32>(PCI_VENDOR_ID) == 0x1042'1af4);
  CHECK(card.config<u32>(PCI_CLASS_REVISION) == 0x0180'0001);
  CHECK(card.config<u32>(PCI_BASE_ADDRESS_0) == 0xd000'8000);
}

TEST_CASE("pci transport: capabilities lead to the structures") {
  Card card;
  const auto where = [&](u8 type) {
    const auto found = card.config<virtio_pci_cap>(card.capability(type));
    CHECK(found.bar == 0);
    return std::pair(u32{found.offset}, u32{found.length});
  };
  CHECK(where(VIRTIO_PCI_CAP_COMMON_CFG) == std::pair(0u, 56u));
  CHECK(where(VIRTIO_PCI_CAP_DEVICE_CFG) == std::pair(kDeviceConfig, 12u));
  CHECK(where(VIRTIO_PCI_CAP_ISR_CFG) == std::pair(kIsr, 1u));
  CHECK(where(VIRTIO_PCI_CAP_NOTIFY_CFG) == std::pair(kNotify, 8u));
  CHECK(card.config<u32>(card.capability(VIRTIO_PCI_CAP_NOTIFY_CFG) + 16) == 4);
  const u32 msix = card.capability(0);
  CHECK(card.config<u16>(msix + 2) == 2);  // three vectors
  CHECK(card.config<u32>(msix + 4) == kTable);
  CHECK(card.config<u32>(msix + 8) == kPba);
}

TEST_CASE("pci transport: the offered features, by select") {
  Card card;
  CHECK(card.read<u32>(VIRTIO_PCI_COMMON_DF) == (1u << 5 | 1u << 28 | 1u << 29));
  card.write<u32>(VIRTIO_PCI_COMMON_DFSELECT, 1);
  CHECK(card.read<u32>(VIRTIO_PCI_COMMON_DF) == (1u << 0 | 1u << 8));
}

TEST_CASE("pci transport: [case 46] feature words from the third on read as 0") {
  Card card;
  const u32 select = GENERATE(2u, 3u, 0x8000'0000u, ~0u);
  card.write<u32>(VIRTIO_PCI_COMMON_DFSELECT, select);
  card.write<u32>(VIRTIO_PCI_COMMON_GFSELECT, select);
  card.write<u32>(VIRTIO_PCI_COMMON_GF, ~0u);
  CHECK(card.read<u32>(VIRTIO_PCI_COMMON_DF) == 0);
  CHECK(card.read<u32>(VIRTIO_PCI_COMMON_GF) == 0);
  CHECK(card.read<u32>(VIRTIO_PCI_COMMON_DFSELECT) == select);
}

TEST_CASE("pci transport: a queue's registers, by select") {
  Card card;
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_NUMQ) == 2);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_SIZE) == 8);
  card.write<u16>(VIRTIO_PCI_COMMON_Q_SELECT, 1);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_SIZE) == 4);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_NOFF) == 1);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_MSIX) == kNoVector);
  card.write<u32>(VIRTIO_PCI_COMMON_Q_USEDHI, 7);
  card.write<u32>(VIRTIO_PCI_COMMON_Q_USEDLO, 9);
  CHECK(card.read<u64>(VIRTIO_PCI_COMMON_Q_USEDLO) == 0x7'0000'0009);
  card.write<u16>(VIRTIO_PCI_COMMON_Q_SELECT, 0);
  CHECK(card.read<u64>(VIRTIO_PCI_COMMON_Q_USEDLO) == 0);
}

TEST_CASE("pci transport: [case 36] a queue that is not there reads as 0 and drops writes") {
  Card card;
  card.write<u16>(VIRTIO_PCI_COMMON_Q_SELECT, 0xffff);
  for (u32 offset = VIRTIO_PCI_COMMON_Q_SIZE; offset < 32; offset += 2) card.write<u16>(offset, 1);
  for (u32 offset = VIRTIO_PCI_COMMON_Q_DESCLO; offset < 56; offset += 4) card.write<u32>(offset, 1);
  for (u32 offset = VIRTIO_PCI_COMMON_Q_SIZE; offset < 56; ++offset) CHECK(card.read<u8>(offset) == 0);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_SELECT) == 0xffff);
}

TEST_CASE("pci transport: the device runs, is rung, and interrupts through the queue's vector") {
  Card card;
  card.enable_msix();
  card.unmask(2);
  card.write<u16>(VIRTIO_PCI_COMMON_Q_MSIX, 2);
  card.start();
  CHECK(card.read<u8>(VIRTIO_PCI_COMMON_STATUS) == 15);
  card.ring.chain().writes(1).offer();
  card.write<u16>(PciTransport::doorbell_offset(0), 0);
  card.io.end_turn();
  CHECK(card.device.served[0] == 1);
  const u32 at = card.io.find(Op::Kind::kWrite);
  REQUIRE(at < card.io.size());
  CHECK(card.io.pending(at).fd == FakeMsiRouter::kFirstLine);
  CHECK(card.read<u8>(kIsr) == 0);
}

TEST_CASE("pci transport: without MSI-X the ISR says so, and reading clears it") {
  Card card;
  card.start();
  card.ring.chain().writes(1).offer();
  card.write<u32>(PciTransport::doorbell_offset(0), 0);
  card.io.end_turn();
  CHECK(card.read<u8>(kIsr) == 1);
  CHECK(card.read<u8>(kIsr) == 0);
}

TEST_CASE("pci transport: [case 37] rings beyond the last queue and beside a doorbell are dropped") {
  Card card;
  card.start();
  card.ring.chain().writes(1).offer();
  card.write<u16>(PciTransport::doorbell_offset(1), 0);
  card.write<u16>(PciTransport::doorbell_offset(2), 0);
  card.write<u16>(PciTransport::kBarBytes - 4, 0);
  card.write<u16>(kNotify + 2, 0);
  CHECK(card.device.served[0] == 0);
}

TEST_CASE("pci transport: [case 38] a vector that is not there reads back as none") {
  Card card;
  for (const u16 vector : {3, 4, 0x7ff, 0xfffe, 0xffff}) {
    card.write<u16>(VIRTIO_PCI_COMMON_MSIX, 1);
    card.write<u16>(VIRTIO_PCI_COMMON_Q_MSIX, 2);
    CHECK(card.read<u16>(VIRTIO_PCI_COMMON_MSIX) == 1);
    card.write<u16>(VIRTIO_PCI_COMMON_MSIX, vector);
    card.write<u16>(VIRTIO_PCI_COMMON_Q_MSIX, vector);
    CHECK(card.read<u16>(VIRTIO_PCI_COMMON_MSIX) == kNoVector);
    CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_MSIX) == kNoVector);
  }
}

TEST_CASE("pci transport: a vector for which the host has no line reads back as none") {
  Card card;
  card.router.refuses = true;
  card.write<u16>(VIRTIO_PCI_COMMON_MSIX, 1);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_MSIX) == kNoVector);
  card.router.refuses = false;
  card.write<u16>(VIRTIO_PCI_COMMON_MSIX, 1);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_MSIX) == 1);
}

TEST_CASE("pci transport: interrupt lines and doorbells are there for what the driver uses, and once") {
  Card card;
  CHECK(card.router.lines == 0);
  for (int i = 0; i < 2; ++i) {
    card.write<u16>(VIRTIO_PCI_COMMON_MSIX, 0);
    card.write<u16>(VIRTIO_PCI_COMMON_Q_MSIX, 0);  // both events by one vector
    card.start();
    card.notify(0);
    card.notify(1);  // which is not enabled
    CHECK(card.router.lines == 1);
    CHECK(card.doorbells.added == std::vector{guest(0xd000'8000 + PciTransport::doorbell_offset(0))});
    REQUIRE(card.reset());
  }
}

TEST_CASE("pci transport: the MSI-X table reads as written; pending bits are read-only") {
  Card card;
  CHECK(card.read<u32>(kTable + 12) == 1);
  card.write<u32>(kTable + 16, 0xfee0'0000);
  CHECK(card.read<u32>(kTable + 16) == 0xfee0'0000);
  card.enable_msix();
  card.write<u16>(VIRTIO_PCI_COMMON_MSIX, 1);
  card.start();
  card.device.change(1);
  card.write<u64>(kPba, ~u64{0});
  CHECK(card.read<u64>(kPba) == 0b010);
  card.unmask(1);
  CHECK(card.read<u64>(kPba) == 0);
}

TEST_CASE("pci transport: [case 39] beyond the table's end there is nothing") {
  Card card;
  const std::vector<u8> before = card.registers;
  for (u32 offset = kTable + 48; offset < kDeviceConfig; offset += 8) card.write<u64>(offset, ~u64{0});
  CHECK(card.registers == before);
}

TEST_CASE("pci transport: a change of configuration is shown, with its generation and an interrupt") {
  Card card;
  card.enable_msix();
  card.unmask(0);
  card.write<u16>(VIRTIO_PCI_COMMON_MSIX, 0);
  card.start();
  card.device.change(42);
  CHECK(card.read<u64>(kDeviceConfig) == 42);
  CHECK(card.read<u8>(VIRTIO_PCI_COMMON_CFGGENERATION) == 1);
  CHECK(card.io.pending(card.io.find(Op::Kind::kWrite)).fd == 100);
  CHECK(card.read<u8>(kIsr) == VIRTIO_PCI_ISR_CONFIG);
}

TEST_CASE("pci transport: [case 49] configuration takes what the device lets it take") {
  Card card;
  card.write<u32>(kDeviceConfig, 0);
  CHECK(card.read<u64>(kDeviceConfig) == 0x1122'3344'5566'7788);
  card.write<u32>(kDeviceConfig + 8, 5);
  CHECK(card.read<u32>(kDeviceConfig + 8) == 5);
}

TEST_CASE("pci transport: [case 50] beyond the configuration's end there are zeros") {
  Card card;
  card.write<u32>(kDeviceConfig + 8, ~0u);
  CHECK(card.read<u64>(kDeviceConfig + 8) == 0xffff'ffff);
  for (u32 offset = kDeviceConfig + 12; offset < kPba - 4; offset += 4) CHECK(card.read<u32>(offset) == 0);
  card.write<u32>(kDeviceConfig + 12, ~0u);
  card.write<u64>(kDeviceConfig + 8, 0);
  CHECK(card.read<u32>(kDeviceConfig + 12) == 0);
  CHECK(card.read<u32>(kDeviceConfig + 8) == ~0u);
}

TEST_CASE("pci transport: fields are written whole or not at all") {
  Card card;
  card.write<u8>(VIRTIO_PCI_COMMON_Q_SIZE, 2);
  card.write<u32>(VIRTIO_PCI_COMMON_Q_SIZE, 2);
  card.write<u64>(VIRTIO_PCI_COMMON_Q_DESCLO, ~u64{0});
  card.write<u16>(VIRTIO_PCI_COMMON_STATUS, 1);
  card.write<u16>(VIRTIO_PCI_COMMON_NUMQ, 9);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_SIZE) == 8);
  CHECK(card.read<u64>(VIRTIO_PCI_COMMON_Q_DESCLO) == 0);
  CHECK(card.read<u8>(VIRTIO_PCI_COMMON_STATUS) == 0);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_NUMQ) == 2);
}

TEST_CASE("pci transport: [case 30] a reset reads back 0 when it has ended, vectors are unmapped") {
  Card card;
  card.write<u16>(VIRTIO_PCI_COMMON_MSIX, 1);
  card.write<u16>(VIRTIO_PCI_COMMON_Q_MSIX, 2);
  card.start();
  card.notify(0);
  card.write<u8>(VIRTIO_PCI_COMMON_STATUS, 0);
  CHECK(card.read<u8>(VIRTIO_PCI_COMMON_STATUS) == 15);
  card.io.finish_cancelled();
  CHECK(card.read<u8>(VIRTIO_PCI_COMMON_STATUS) == 0);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_MSIX) == kNoVector);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_MSIX) == kNoVector);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_ENABLE) == 0);
}

TEST_CASE("pci transport: [case 45] memory decoding turned off under a request changes nothing for it") {
  Card card;
  card.device.wait_for_host = true;
  card.ring.chain().writes(1).offer();
  card.start();
  card.write_config<u16>(PCI_COMMAND, 0);
  card.io.finish(card.io.find(Op::Kind::kFdatasync), 0);
  CHECK(card.ring.take_used()->len == 1);
}

TEST_CASE("pci transport: the window in configuration space reads and writes registers") {
  Card card;
  card.set_window(0, VIRTIO_PCI_COMMON_NUMQ, 2);
  CHECK(card.window_data() == 2);
  card.set_window(0, VIRTIO_PCI_COMMON_Q_SELECT, 2);
  card.write_config<u32>(card.capability(VIRTIO_PCI_CAP_PCI_CFG) + 16, 1);
  CHECK(card.read<u16>(VIRTIO_PCI_COMMON_Q_SELECT) == 1);
  card.write<u16>(VIRTIO_PCI_COMMON_Q_SELECT, 0);
  CHECK(card.window_data() == 0);
}

TEST_CASE("pci transport: the window can ring and follows a status that changes by itself") {
  Card card;
  card.start();
  card.ring.chain().writes(1).offer();
  card.set_window(0, PciTransport::doorbell_offset(0), 2);
  card.write_config<u32>(card.capability(VIRTIO_PCI_CAP_PCI_CFG) + 16, 0);
  CHECK(card.device.served[0] == 1);
  card.set_window(0, VIRTIO_PCI_COMMON_STATUS, 1);
  card.ring.avail_index() = 99;
  card.write<u16>(PciTransport::doorbell_offset(0), 0);
  CHECK(card.window_data() == (15 | VIRTIO_CONFIG_S_NEEDS_RESET));
}

TEST_CASE("pci transport: [case 51] a window that is none is dropped") {
  Card card;
  const auto [bar, offset, length] = GENERATE(table<u8, u32, u32>({
      {1, 0, 4},
      {6, 0, 4},
      {255, 0, 4},  // no such BAR
      {0, ~0u, 4},
      {0, ~0u - 3, 4},
      {0, 0x8000, 4},
      {0, 0x7fff, 2},  // outside
      {0, 20, 0},
      {0, 20, 3},
      {0, 20, 5},
      {0, 20, 8},
      {0, 20, ~0u},
      {0, 22, 4},  // no such access
  }));
  card.set_window(bar, offset, length);
  const std::vector<u8> before = card.registers;
  card.write_config<u32>(card.capability(VIRTIO_PCI_CAP_PCI_CFG) + 16, 1);
  CHECK(card.registers == before);
  CHECK(card.read<u8>(VIRTIO_PCI_COMMON_STATUS) == 0);
}

TEST_CASE("pci transport: [case 51] an access to the window that is dropped does nothing") {
  Card card;
  card.start();
  card.ring.chain().writes(1).offer();
  card.set_window(0, PciTransport::doorbell_offset(0), 1);
  const u32 data = card.capability(VIRTIO_PCI_CAP_PCI_CFG) + 16;
  const auto [offset, length] = GENERATE(table<u32, u64>({{0, 0}, {0, 3}, {0, 8}, {1, 2}, {2, 4}}));
  const std::array<u8, 8> zeros{};
  card.transport.write_config(data + offset, std::span(zeros).first(length));
  CHECK(card.device.served[0] == 0);
  card.write_config<u8>(data, 0);
  CHECK(card.device.served[0] == 1);
}

TEST_CASE("pci transport: a read through the window does not clear the ISR") {
  Card card;
  card.start();
  card.device.change(1);
  card.set_window(0, kIsr, 1);
  CHECK(card.read<u8>(kIsr) == VIRTIO_PCI_ISR_CONFIG);
}

TEST_CASE("pci transport: [case 33] [case 34] random accesses end in a device that can be reset") {
  const u32 seed = GENERATE(range(0u, 20u));
  std::mt19937 random(seed);
  Card card;
  card.device.wait_for_host = seed % 2;
  for (int i = 0; i < 3'000; ++i) {
    const u32 length = std::array{1u, 2u, 4u, 8u, 3u}[random() % 5];
    u64 value = random() % 4 ? random() % 16 : random() | u64{random()} << 32;
    const std::span bytes(reinterpret_cast<u8*>(&value), length);
    const u32 page = random() % 8 * 0x1000;
    const u32 offset = random() % 8 == 0 ? random() : page + random() % (random() % 2 ? 64 : 0x1000);
    switch (random() % 8) {
      case 0:
        card.transport.read_bar(offset, bytes);
        break;
      case 1:
        card.transport.read_config(offset, bytes);
        break;
      case 2:
        card.transport.write_config(random() % 256 / length * length, bytes);
        break;
      case 3:
        card.start();
        break;
      case 4:
        for (u16 slot = 0; slot < 8; ++slot) {
          card.ring.avail_ring(slot) = static_cast<u16>(random() % 9);
          card.ring.descriptor(slot) = {.addr = FakeRam::kStart + random() % 0x30'0000,
                                        .len = static_cast<u32>(random() % 64),
                                        .flags = static_cast<u16>(random() % 8),
                                        .next = static_cast<u16>(random() % 9)};
        }
        card.ring.avail_index() = static_cast<u16>(card.ring.avail_index() + random() % 3);
        break;
      case 5:
        if (!card.io.empty()) {
          const u32 which = static_cast<u32>(random() % card.io.size());
          if (card.io.pending(which).kind == Op::Kind::kPollMultishot)
            card.io.fire(which, POLLIN);
          else
            card.io.finish(which, 0);
        }
        card.io.finish_cancelled();
        break;
      default:
        card.transport.write_bar(offset, bytes);
        break;
    }
    card.io.end_turn();
  }
  card.write<u8>(VIRTIO_PCI_COMMON_STATUS, 0);
  card.io.finish_cancelled();
  card.io.finish_cancelled();
  CHECK(card.read<u8>(VIRTIO_PCI_COMMON_STATUS) == 0);
  card.ring.avail_index() = 0;
  card.start();
  CHECK((card.read<u8>(VIRTIO_PCI_COMMON_STATUS) & 15) == 15);
}

}  // namespace
}  // namespace uvmm
