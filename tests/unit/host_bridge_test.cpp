// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/host_bridge.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

namespace uvmm {
namespace {

struct FakeFunction final : PciFunction {
  void read_config(u32 offset, std::span<u8> bytes) override {
    std::ranges::fill(bytes, u8{0x5a});
    last_offset = offset;
  }
  void write_config(u32 offset, std::span<const u8> bytes) override {
    last_offset = offset;
    written += bytes.size();
  }
  u32 last_offset = ~0u;
  u64 written = 0;
};

struct Bus {
  Bus() { bridge.attach(3, function); }
  u32 read32(u64 offset) {
    u32 value = 0;
    bridge.read(offset, {reinterpret_cast<u8*>(&value), sizeof value});
    return value;
  }

  std::vector<u8> page = std::vector<u8>(ConfigSpace::kBytes);
  HostBridge bridge{page};
  FakeFunction function;
};

TEST_CASE("host bridge: function 00:00.0 is a host bridge") {
  Bus bus;
  CHECK(bus.read32(8) >> 8 == 0x060000);
  CHECK(bus.read32(0) != ~0u);
}

TEST_CASE("host bridge: a device is found at its number") {
  Bus bus;
  CHECK(bus.read32(HostBridge::ecam_offset(3) + 0x10) == 0x5a5a'5a5a);
  CHECK(bus.function.last_offset == 0x10);
  const std::vector<u8> bytes(2);
  bus.bridge.write(HostBridge::ecam_offset(3) + 4, bytes);
  CHECK(bus.function.last_offset == 4);
  CHECK(bus.function.written == 2);
}

TEST_CASE("host bridge: [case 35] absent devices and functions read as ones and drop writes") {
  Bus bus;
  const std::vector<u8> bytes(4);
  for (u64 offset = 0; offset < HostBridge::kEcamBytes; offset += ConfigSpace::kBytes) {
    if (offset == 0 || offset == HostBridge::ecam_offset(3)) continue;
    REQUIRE(bus.read32(offset) == ~0u);
    bus.bridge.write(offset, bytes);
  }
  CHECK(bus.function.written == 0);
}

TEST_CASE("host bridge: [case 33] accesses over a function's end or beyond the bus reach nobody") {
  Bus bus;
  CHECK(bus.read32(HostBridge::ecam_offset(3) + 4093) == ~0u);
  CHECK(bus.read32(HostBridge::kEcamBytes - 2) == ~0u);
  CHECK(bus.read32(HostBridge::kEcamBytes) == ~0u);
  CHECK(bus.read32(~u64{0} - 1) == ~0u);
  const std::vector<u8> bytes(8);
  bus.bridge.write(HostBridge::ecam_offset(3) + 4092, bytes);
  bus.bridge.write(HostBridge::kEcamBytes, bytes);
  bus.bridge.write(~u64{0}, bytes);
  CHECK(bus.function.written == 0);
}

}  // namespace
}  // namespace uvmm
