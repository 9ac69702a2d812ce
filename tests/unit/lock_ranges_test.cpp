// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/lock_ranges.h"

#include <catch2/catch.hpp>
#include <random>

namespace uvmm::fuse {
namespace {

TEST_CASE("lock ranges: a lock replaces what it covers, and leaves the rest") {
  LockRanges ranges;
  ranges.set({0, 9, F_WRLCK, 0});
  ranges.set({3, 5, F_RDLCK, 0});
  CHECK(ranges.block({2, 2, F_RDLCK, 0}));
  CHECK_FALSE(ranges.block({3, 5, F_RDLCK, 0}));
  CHECK(ranges.block({4, 4, F_WRLCK, 0}));
  CHECK(ranges.block({6, 6, F_RDLCK, 0}));
  CHECK_FALSE(ranges.block({10, ~u64{0} >> 1, F_WRLCK, 0}));
  ranges.set({0, ~u64{0} >> 1, F_UNLCK, 0});
  CHECK(ranges.size() == 0);
}

TEST_CASE("lock ranges: neighbours of one type are one") {
  LockRanges ranges;
  for (u64 i = 0; i < 5000; ++i) ranges.set({i, i, F_WRLCK, 0});
  CHECK(ranges.size() == 1);
  ranges.set({6000, ~u64{0} >> 1, F_WRLCK, 0});
  ranges.set({5000, 5000, F_RDLCK, 0});
  CHECK(ranges.size() == 3);
  ranges.set({5000, 5999, F_WRLCK, 0});
  CHECK(ranges.size() == 1);
}

TEST_CASE("lock ranges: whatever is set, byte for byte it is the last that was set there") {
  std::mt19937 random(1);
  LockRanges ranges;
  u32 bytes[32];
  std::ranges::fill(bytes, u32{F_UNLCK});
  const u32 types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
  for (int i = 0; i < 2000; ++i) {
    const u64 start = random() % 32;
    const u64 end = start + random() % (32 - start);
    const u32 type = types[random() % 3];
    ranges.set({start, end, type, 0});
    for (u64 at = start; at <= end; ++at) bytes[at] = type;
    for (u64 at = 0; at < 32; ++at) {
      CHECK(ranges.block({at, at, F_RDLCK, 0}) == (bytes[at] == F_WRLCK));
      CHECK(ranges.block({at, at, F_WRLCK, 0}) == (bytes[at] != F_UNLCK));
    }
  }
}

}  // namespace
}  // namespace uvmm::fuse
