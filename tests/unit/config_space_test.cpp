// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/config_space.h"

#include <linux/pci_regs.h>

#include <catch2/catch.hpp>
#include <vector>

namespace uvmm {
namespace {

struct Function {
  Function() { config.set_bar(0xd000'8000, 0x8000); }
  template <typename T>
  void write(u32 offset, T value) {
    config.write(offset, {reinterpret_cast<const u8*>(&value), sizeof value});
  }

  std::vector<u8> page = std::vector<u8>(ConfigSpace::kBytes);
  ConfigSpace config{page,
                     {.vendor = 0x1af4,
                      .device = 0x1042,
                      .subsystem_vendor = 0x1af4,
                      .subsystem = 0x1042,
                      .class_code = 0x018000,
                      .revision = 1}};
};

TEST_CASE("config space: the identity is where PCI wants it") {
  Function f;
  CHECK(f.config.load<u32>(PCI_VENDOR_ID) == 0x1042'1af4);
  CHECK(f.config.load<u32>(PCI_CLASS_REVISION) == 0x01800001);
  CHECK(f.config.load<u32>(PCI_SUBSYSTEM_VENDOR_ID) == 0x1042'1af4);
  CHECK(f.config.load<u8>(PCI_HEADER_TYPE) == PCI_HEADER_TYPE_NORMAL);
  CHECK(f.config.load<u8>(PCI_INTERRUPT_PIN) == 0);
}

TEST_CASE("config space: capabilities are linked in order") {
  Function f;
  const u8 first = f.config.add_capability(std::vector<u8>{9, 0, 16, 1, 5});
  const u8 second = f.config.add_capability(std::vector<u8>{17, 0});
  CHECK(f.config.load<u16>(PCI_STATUS) == PCI_STATUS_CAP_LIST);
  CHECK(f.config.load<u8>(PCI_CAPABILITY_LIST) == first);
  CHECK(f.page[first] == 9);
  CHECK(f.page[first + 1] == second);
  CHECK(second % 4 == 0);
  CHECK(f.page[second + 1] == 0);
}

TEST_CASE("config space: of the command register, what means something is stored") {
  Function f;
  f.write<u16>(PCI_COMMAND, 0xffff);
  CHECK(f.config.command() == (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                               PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE));
  f.write<u16>(PCI_COMMAND, 0);
  CHECK(f.config.command() == 0);
}

TEST_CASE("config space: what the driver may not write stays") {
  Function f;
  const std::vector<u8> before = f.page;
  for (u32 offset = 0x40; offset < ConfigSpace::kBytes; offset += 4) f.write<u32>(offset, ~0u);
  f.write<u32>(PCI_VENDOR_ID, ~0u);
  f.write<u32>(PCI_CLASS_REVISION, ~0u);
  for (u32 offset = PCI_BASE_ADDRESS_1; offset < PCI_INTERRUPT_LINE; offset += 4) f.write<u32>(offset, ~0u);
  CHECK(f.page == before);
}

TEST_CASE("config space: [case 42] a sizing write shows the size, decoding on or off") {
  Function f;
  f.write<u16>(PCI_COMMAND, GENERATE(0, PCI_COMMAND_MEMORY));
  f.write<u32>(PCI_BASE_ADDRESS_0, ~0u);
  CHECK(f.config.load<u32>(PCI_BASE_ADDRESS_0) == 0xffff'8000);
  f.write<u32>(PCI_BASE_ADDRESS_0, 0xd000'8000);
  CHECK(f.config.load<u32>(PCI_BASE_ADDRESS_0) == 0xd000'8000);
}

TEST_CASE("config space: [case 43] [case 44] a BAR that is moved does not take") {
  Function f;
  const u32 elsewhere = GENERATE(0u, 0x10'0000u, 0xfee0'0000u, 0xe000'0000u, 0xffff'fff0u, 0xd001'0000u);
  f.write<u32>(PCI_BASE_ADDRESS_0, elsewhere);
  CHECK(f.config.load<u32>(PCI_BASE_ADDRESS_0) == 0xd000'8000);
}

TEST_CASE("config space: a BAR written in parts is where it was") {
  Function f;
  f.write<u32>(PCI_BASE_ADDRESS_0, ~0u);
  f.write<u8>(PCI_BASE_ADDRESS_0 + 1, 0xff);
  CHECK(f.config.load<u32>(PCI_BASE_ADDRESS_0) == 0xd000'8000);
}

TEST_CASE("config space: a function without a BAR has none to size") {
  std::vector<u8> page(ConfigSpace::kBytes);
  ConfigSpace config(page, {.vendor = 1, .device = 2});
  const u32 ones = ~0u;
  config.write(PCI_BASE_ADDRESS_0, {reinterpret_cast<const u8*>(&ones), 4});
  CHECK(config.load<u32>(PCI_BASE_ADDRESS_0) == 0);
}

TEST_CASE("config space: [case 33] every offset and width is bounded") {
  Function f;
  const std::vector<u8> before = f.page;
  const std::vector<u8> zeros(64);
  for (u32 offset = 0; offset < 2 * ConfigSpace::kBytes; ++offset) {
    for (const u32 length : {1u, 2u, 3u, 4u, 5u, 8u, 64u}) {
      std::vector<u8> read(length);
      f.config.read(offset, read);
      const bool inside = offset + length <= ConfigSpace::kBytes;
      REQUIRE(read[0] == (inside ? f.page[offset] : 0xff));
      f.config.write(offset, std::span(zeros).first(length));
    }
  }
  f.config.write(~0u, std::span(zeros).first(4));
  f.config.write(0, {});
  CHECK(f.page == before);
}

TEST_CASE("config space: it says whether a write was dropped") {
  Function f;
  const std::vector<u8> bytes(8);
  for (const u32 length : {1u, 2u, 4u}) CHECK(f.config.write(PCI_COMMAND, std::span(bytes).first(length)));
  CHECK(f.config.write(PCI_BASE_ADDRESS_0, std::span(bytes).first(4)));
  for (const u32 length : {0u, 3u, 8u}) CHECK_FALSE(f.config.write(0, std::span(bytes).first(length)));
  CHECK_FALSE(f.config.write(PCI_COMMAND + 1, std::span(bytes).first(2)));
  CHECK_FALSE(f.config.write(256, std::span(bytes).first(4)));
}

TEST_CASE("config space: an unaligned write is dropped") {
  Function f;
  f.write<u16>(PCI_COMMAND - 1, 0x0606);
  f.write<u32>(PCI_COMMAND - 2, 0x0606'0606);
  f.write<u64>(PCI_VENDOR_ID, ~u64{0});
  CHECK(f.config.command() == 0);
}

}  // namespace
}  // namespace uvmm
