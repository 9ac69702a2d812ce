// SPDX-License-Identifier: Apache-2.0
#include "boot/byte_reader.h"

#include <array>
#include <catch2/catch.hpp>

using namespace uvmm;

TEST_CASE("byte reader: numbers of both byte orders, one after the other") {
  const std::array<u8, 7> bytes = {1, 2, 3, 4, 5, 6, 7};
  ByteReader reader(bytes);
  CHECK(reader.take<u16>() == 0x0201);
  CHECK(reader.take_big_endian<u32>() == 0x03040506u);
  CHECK(reader.take<u8>() == 7);
  CHECK(reader.take<u8>() == std::nullopt);
}

TEST_CASE("byte reader: after a step past the end nothing more comes") {
  const std::array<u8, 4> bytes = {1, 2, 3, 4};
  ByteReader reader(bytes);
  reader.skip(5);
  CHECK(reader.take<u8>() == std::nullopt);
}

TEST_CASE("byte reader: a length of 2^64 - 1 is only too long") {
  const std::array<u8, 4> bytes = {1, 2, 3, 4};
  ByteReader reader(bytes);
  CHECK(reader.take_bytes(~u64{0}) == std::nullopt);
}
