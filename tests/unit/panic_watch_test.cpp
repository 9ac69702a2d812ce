// SPDX-License-Identifier: Apache-2.0
#include "devices/panic_watch.h"

#include <catch2/catch.hpp>
#include <string_view>

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
