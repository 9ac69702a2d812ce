// SPDX-License-Identifier: Apache-2.0
#include "arch/x86_64/layout.h"

#include <catch2/catch.hpp>

using namespace uvmm;

TEST_CASE("layout: RAM up to the hole is one range") {
  const auto ranges = layout::ram_ranges(3_GiB);
  REQUIRE(ranges.size() == 1);
  CHECK(ranges.ranges[0] == layout::Range{0, 3_GiB});
}

TEST_CASE("layout: what RAM has beyond 3 GiB continues at 4 GiB") {
  const auto ranges = layout::ram_ranges(16_GiB);
  REQUIRE(ranges.size() == 2);
  CHECK(ranges.ranges[0] == layout::Range{0, 0xC000'0000});
  CHECK(ranges.ranges[1] == layout::Range{0x1'0000'0000, 13_GiB});
}
