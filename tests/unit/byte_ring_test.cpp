// SPDX-License-Identifier: Apache-2.0
#include "devices/byte_ring.h"

#include <catch2/catch.hpp>
#include <deque>
#include <string>
#include <string_view>

namespace uvmm {
namespace {

std::span<const u8> bytes(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}
std::string text(std::span<const u8> bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST_CASE("byte ring: first in, first out") {
  ByteRing ring(8);
  CHECK(ring.push(bytes("abc")) == 3);
  CHECK(ring.push(bytes("de")) == 2);
  CHECK(text(ring.front()) == "abcde");
  ring.drop_front(2);
  CHECK(text(ring.front()) == "cde");
}

TEST_CASE("byte ring: what finds no room is not taken") {
  ByteRing ring(4);
  CHECK(ring.push(bytes("abcdef")) == 4);
  CHECK(ring.push(bytes("g")) == 0);
  CHECK(text(ring.front()) == "abcd");
}

TEST_CASE("byte ring: bytes over the end come as two parts") {
  ByteRing ring(4);
  ring.push(bytes("abc"));
  ring.drop_front(2);
  CHECK(ring.push(bytes("def")) == 3);
  CHECK(text(ring.front()) == "cd");
  ring.drop_front(2);
  CHECK(text(ring.front()) == "ef");
}

TEST_CASE("byte ring: it behaves as a queue under any mixture of use") {
  ByteRing ring(7);
  std::deque<u8> model;
  u32 seed = 7;
  u8 next = 0;
  for (int i = 0; i < 10'000; ++i) {
    seed = seed * 1664525 + 1013904223;
    const u32 count = (seed >> 16) % 9;
    if (seed >> 31) {
      std::string source;
      for (u32 k = 0; k < count; ++k) source += static_cast<char>(next++);
      const u64 taken = ring.push(bytes(source));
      REQUIRE(taken == std::min<u64>(count, 7 - model.size()));
      model.insert(model.end(), source.begin(), source.begin() + static_cast<i64>(taken));
    } else {
      ring.drop_front(count);
      model.erase(model.begin(), model.begin() + static_cast<i64>(std::min<u64>(count, model.size())));
    }
    REQUIRE(ring.size() == model.size());
    REQUIRE(std::ranges::equal(
        ring.front(), std::deque<u8>(model.begin(), model.begin() + static_cast<i64>(ring.front().size()))));
    REQUIRE(ring.front().empty() == model.empty());
  }
}

}  // namespace
}  // namespace uvmm
