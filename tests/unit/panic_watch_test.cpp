// SPDX-License-Identifier: Apache-2.0
#include "devices/panic_watch.h"

#include <catch2/catch.hpp>
#include <ctime>
#include <string_view>
#include <vector>

namespace uvmm {
namespace {

bool sees(std::string_view text) {
  PanicWatch watch;
  watch.see({reinterpret_cast<const u8*>(text.data()), text.size()});
  return watch.seen();
}

TEST_CASE("panic watch: a kernel's panic is seen") {
  CHECK(sees("[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n"));
}

TEST_CASE("panic watch: other words are not") {
  CHECK_FALSE(sees("Kernel panic - not sync\nKernel panic"));
  CHECK_FALSE(sees(""));
}

TEST_CASE("panic watch: a beginning that comes to nothing does not hide the real one") {
  CHECK(sees("KKernel panic - not syncing"));
  CHECK(sees("Kernel paKernel panic - not syncing"));
}

TEST_CASE("panic watch: the words are found wherever the output is cut") {
  const std::string_view text = "Key K, Kernel panic - not syncing: KKK";
  for (std::size_t first = 0; first < text.size(); ++first) {
    for (std::size_t second = first; second < text.size(); ++second) {
      PanicWatch watch;
      const std::string_view parts[] = {text.substr(0, first), text.substr(first, second - first),
                                        text.substr(second)};
      for (const std::string_view part : parts)
        watch.see({reinterpret_cast<const u8*>(part.data()), part.size()});
      REQUIRE(watch.seen());
    }
  }
}

// The processor's time for 64 MiB of it.
std::clock_t cost_of(std::string_view pattern) {
  std::vector<u8> output;
  while (output.size() < 1_MiB) output.insert(output.end(), pattern.begin(), pattern.end());
  PanicWatch watch;
  const std::clock_t start = std::clock();
  for (int i = 0; i < 64; ++i) watch.see(output);
  return std::clock() - start;
}

TEST_CASE("panic watch: output without the first letter costs little of what it costs to look at each byte") {
  CHECK(cost_of("print") < cost_of("Kernel") / 2);
}

TEST_CASE("panic watch: words that come byte by byte are seen") {
  PanicWatch watch;
  for (const char& letter : PanicWatch::kWords) {
    CHECK_FALSE(watch.seen());
    watch.see({reinterpret_cast<const u8*>(&letter), 1});
  }
  CHECK(watch.seen());
}

}  // namespace
}  // namespace uvmm
