// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/segments.h"

#include <array>
#include <catch2/catch.hpp>
#include <vector>

namespace uvmm {
namespace {

struct Header {
  le16 first;
  le16 second;
};

// "abcdefgh" in pieces of 3, 1 and 4 bytes.
struct InPieces {
  std::array<u8, 3> a{'a', 'b', 'c'};
  std::array<u8, 1> b{'d'};
  std::array<u8, 4> c{'e', 'f', 'g', 'h'};
  std::vector<iovec> pieces{{a.data(), 3}, {b.data(), 1}, {c.data(), 4}};
  Segments segments{pieces};
};

TEST_CASE("segments: a value that is spread over pieces is taken whole") {
  InPieces in;
  const auto header = in.segments.take<Header>();
  REQUIRE(header);
  CHECK(header->first == 0x6261);
  CHECK(header->second == 0x6463);
  CHECK(in.segments.size() == 4);
  REQUIRE(in.segments.iovecs().size() == 1);
  CHECK(in.segments.iovecs()[0].iov_base == in.c.data());
}

TEST_CASE("segments: taking part of a piece leaves the rest of it") {
  InPieces in;
  CHECK(in.segments.take<u8>() == 'a');
  CHECK(in.segments.iovecs()[0].iov_base == in.a.data() + 1);
  CHECK(in.segments.iovecs()[0].iov_len == 2);
  CHECK(in.segments.take<u8>() == 'b');
}

TEST_CASE("segments: a value that is longer than what is left takes nothing") {
  InPieces in;
  in.segments.drop_front(6);
  CHECK_FALSE(in.segments.take<u32>());
  CHECK(in.segments.size() == 2);
  CHECK(in.segments.take<u16>() == 0x6867);
  CHECK_FALSE(in.segments.take<u8>());
}

TEST_CASE("segments: copying in spreads over pieces") {
  InPieces in;
  const std::array<u8, 5> source{1, 2, 3, 4, 5};
  REQUIRE(in.segments.copy_in(source));
  CHECK(in.a == std::array<u8, 3>{1, 2, 3});
  CHECK(in.b[0] == 4);
  CHECK(in.c == std::array<u8, 4>{5, 'f', 'g', 'h'});
  CHECK(in.segments.size() == 3);
}

TEST_CASE("segments: copying in more than fits writes nothing") {
  InPieces in;
  const std::array<u8, 9> source{};
  CHECK_FALSE(in.segments.copy_in(source));
  CHECK(in.a[0] == 'a');
  CHECK(in.segments.size() == 8);
}

TEST_CASE("segments: the last byte is pointed at and consumed") {
  InPieces in;
  CHECK(in.segments.take_last_byte() == in.c.data() + 3);
  CHECK(in.segments.size() == 7);
  in.segments.truncate(4);
  CHECK(in.segments.take_last_byte() == in.b.data());
  CHECK(in.segments.iovecs().size() == 1);
}

TEST_CASE("segments: nothing has no last byte") {
  Segments none;
  CHECK(none.empty());
  CHECK(none.take_last_byte() == nullptr);
  CHECK_FALSE(none.take<u8>());
  none.drop_front(1);
  none.truncate(0);
  CHECK(none.copy_in({}));
}

TEST_CASE("segments: a hole is neither read nor written") {
  std::array<u8, 4> bytes{1, 2, 3, 4};
  std::vector<iovec> pieces{{bytes.data(), 2}, {nullptr, 8}, {bytes.data() + 2, 2}};
  Segments segments(pieces);
  CHECK(segments.size() == 12);
  CHECK(segments.has_hole());
  CHECK_FALSE(segments.take<u32>());
  CHECK_FALSE(segments.copy_in(std::array<u8, 3>{9, 9, 9}));
  CHECK(bytes[0] == 1);
  CHECK(segments.take<u16>() == 0x0201);
  CHECK(segments.take_last_byte() == bytes.data() + 3);
}

TEST_CASE("segments: a last byte in a hole is none, and what was dropped of a hole is remembered") {
  std::array<u8, 2> bytes{1, 2};
  std::vector<iovec> pieces{{nullptr, 4}, {bytes.data(), 2}, {nullptr, 1}};
  Segments segments(pieces);
  CHECK(segments.take_last_byte() == nullptr);
  segments.truncate(6);
  segments.drop_front(3);
  CHECK(segments.iovecs()[0].iov_base == nullptr);
  segments.drop_front(1);
  CHECK(segments.has_hole());
  CHECK(segments.take<u16>() == 0x0201);
}

TEST_CASE("segments: dropping and truncating beyond the end is bounded") {
  InPieces in;
  in.segments.truncate(100);
  CHECK(in.segments.size() == 8);
  in.segments.drop_front(100);
  CHECK(in.segments.empty());
  CHECK(in.segments.iovecs().empty());
}

}  // namespace
}  // namespace uvmm
