// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/guest_memory.h"

#include <array>
#include <catch2/catch.hpp>

using namespace uvmm;

namespace {

// [0x1000, 0x2000), [0x2000, 0x2800) adjoining it, a hole, and a last region that ends with the address
// space.
struct Fixture {
  std::array<u8, 0x1000> first{};
  std::array<u8, 0x800> second{};
  std::array<u8, 0x1000> last{};
  GuestMemory memory{{{guest(0x1000), first}, {guest(0x2000), second}, {guest(0xFFFF'FFFF'FFFF'F000), last}}};
};

}  // namespace

TEST_CASE_METHOD(Fixture, "guest memory: a slice is the host's view of the guest's bytes") {
  const auto slice = memory.slice(guest(0x1010), 4);
  REQUIRE(slice);
  CHECK(slice->data() == first.data() + 0x10);
  CHECK(slice->size() == 4);
}

TEST_CASE_METHOD(Fixture, "guest memory: nothing below, between or one byte past the regions") {
  CHECK_FALSE(memory.slice(guest(0xFFF), 1));
  CHECK_FALSE(memory.slice(guest(0x2800), 1));
  CHECK_FALSE(memory.slice(guest(0x27FF), 2));
  CHECK(memory.slice(guest(0x27FF), 1));
  CHECK_FALSE(memory.slice(guest(0), 1));
}

TEST_CASE_METHOD(Fixture, "guest memory: lengths that would wrap around are not RAM") {
  CHECK_FALSE(memory.slice(guest(0x1000), ~u64{0}));
  CHECK(memory.slice(guest(0xFFFF'FFFF'FFFF'F000), 0x1000));
  CHECK_FALSE(memory.slice(guest(0xFFFF'FFFF'FFFF'F000), 0x1001));
  CHECK(memory.slice(guest(~u64{0}), 1));
  CHECK_FALSE(memory.slice(guest(~u64{0}), 2));
}

TEST_CASE_METHOD(Fixture, "guest memory: prefix ends with its region, slice refuses to cross") {
  CHECK(memory.prefix(guest(0x1FF0), 0x20).size() == 0x10);
  CHECK(memory.prefix(guest(0x2000), 0x10).data() == second.data());
  CHECK(memory.prefix(guest(0x3000), 0x10).empty());
  CHECK_FALSE(memory.slice(guest(0x1FF0), 0x20));
}

TEST_CASE_METHOD(Fixture, "guest memory: typed reads and writes copy, at any alignment") {
  CHECK(memory.write(guest(0x1001), u32{0x11223344}));
  CHECK(first[1] == 0x44);
  CHECK(memory.read<u32>(guest(0x1001)) == 0x11223344u);
  CHECK_FALSE(memory.read<u64>(guest(0x27FC)));
  CHECK_FALSE(memory.write(guest(0x27FC), u64{1}));
}
