// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_packet.h"

#include <array>
#include <catch2/catch.hpp>
#include <utility>

namespace uvmm {
namespace {

struct Buffer {
  Buffer() {
    header = {.src_cid = 5, .dst_cid = 2, .src_port = 7, .dst_port = 8, .len = 4, .type = 1, .op = 5};
  }
  Segments segments() {
    pieces = {iovec{&header, 20}, iovec{reinterpret_cast<u8*>(&header) + 20, 24},
              iovec{data.data(), data.size()}};
    return Segments(pieces);
  }
  virtio_vsock_hdr header{};
  std::array<char, 4> data{'d', 'a', 't', 'a'};
  std::array<iovec, 3> pieces{};
};

TEST_CASE("vsock packet: a header in pieces, and its data behind it") {
  Buffer buffer;
  Segments segments = buffer.segments();
  const auto packet = take_vsock_packet(segments, 5);
  REQUIRE(packet);
  CHECK(packet->whole);
  CHECK(packet->tuple.guest_port == 7);
  CHECK(packet->tuple.host_port == 8);
  CHECK(packet->tuple.type == 1);
  CHECK(segments.size() == 4);
}

TEST_CASE("[case 121] vsock packet: the length is bounded by what is there") {
  Buffer buffer;
  buffer.header.len = GENERATE(5u, 0xffffffffu);
  Segments segments = buffer.segments();
  const auto packet = take_vsock_packet(segments, 5);
  REQUIRE(packet);
  CHECK_FALSE(packet->whole);
}

TEST_CASE("[case 122] vsock packet: CIDs count with all their bits") {
  Buffer buffer;
  using Cids = std::pair<u64, u64>;
  const Cids cids = GENERATE(Cids{4, 2}, Cids{u64{1} << 32 | 5, 2}, Cids{2, 2}, Cids{~u64{0}, 2},
                             Cids{5, u64{1} << 32 | 2}, Cids{5, u64{1} << 32}, Cids{5, ~u64{0}});
  buffer.header.src_cid = cids.first;
  buffer.header.dst_cid = cids.second;
  Segments segments = buffer.segments();
  CHECK_FALSE(take_vsock_packet(segments, 5));
}

TEST_CASE("vsock packet: whom the guest means, the answer comes from") {
  Buffer buffer;
  buffer.header.dst_cid = GENERATE(0u, 2u, 7u, 0xffffffffu);
  Segments segments = buffer.segments();
  const auto packet = take_vsock_packet(segments, 5);
  REQUIRE(packet);
  CHECK(packet->tuple.cid == buffer.header.dst_cid);
  const virtio_vsock_hdr answer = vsock_header(5, packet->tuple, VIRTIO_VSOCK_OP_RST);
  CHECK(answer.src_cid == buffer.header.dst_cid);
  CHECK(answer.dst_cid == 5);
}

}  // namespace
}  // namespace uvmm
