// SPDX-License-Identifier: Apache-2.0
#include "devices/net_header.h"

#include <catch2/catch.hpp>

namespace uvmm {
namespace {

constexpr u64 kAll = kNetHostOffloads;
constexpr u8 kNeedsSum = VIRTIO_NET_HDR_F_NEEDS_CSUM;

virtio_net_hdr_v1 large(u8 gso_type = VIRTIO_NET_HDR_GSO_TCPV4) {
  return {.flags = kNeedsSum,
          .gso_type = gso_type,
          .hdr_len = 54,
          .gso_size = 1448,
          .csum_start = 34,
          .csum_offset = 16};
}
virtio_net_hdr_v1 summed(u16 start, u16 offset) {
  return {.flags = kNeedsSum, .csum_start = start, .csum_offset = offset};
}

TEST_CASE("net header: plain frames, frames to be summed and frames to be cut are valid") {
  CHECK(valid_net_header({}, 60, 0));
  CHECK(valid_net_header(summed(34, 6), 60, kAll));
  CHECK(valid_net_header(large(), 4000, kAll));
  CHECK(valid_net_header(large(VIRTIO_NET_HDR_GSO_TCPV6), 4000, kAll));
  CHECK(valid_net_header(large(VIRTIO_NET_HDR_GSO_UDP_L4), 4000, kAll));
  CHECK(valid_net_header(large(VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN), 4000, kAll));
}

TEST_CASE("[case 73] net header: an unknown gso_type is dropped") {
  for (u32 type = 1; type < 256; ++type) {
    const u32 base = type & ~u32{VIRTIO_NET_HDR_GSO_ECN};
    const bool known = base == VIRTIO_NET_HDR_GSO_TCPV4 || base == VIRTIO_NET_HDR_GSO_TCPV6 ||
                       base == VIRTIO_NET_HDR_GSO_UDP_L4;
    CAPTURE(type);
    CHECK(valid_net_header(large(static_cast<u8>(type)), 4000, kAll) == known);
  }
}

TEST_CASE("[case 73] net header: a frame to be cut into pieces of nothing is dropped") {
  virtio_net_hdr_v1 header = large();
  header.gso_size = 0;
  CHECK_FALSE(valid_net_header(header, 4000, kAll));
}

TEST_CASE("[case 73] net header: a checksum beyond the frame is dropped") {
  CHECK(valid_net_header(summed(58, 0), 60, kAll));
  CHECK_FALSE(valid_net_header(summed(59, 0), 60, kAll));
  CHECK(valid_net_header(summed(0, 58), 60, kAll));
  CHECK_FALSE(valid_net_header(summed(0, 59), 60, kAll));
  CHECK_FALSE(valid_net_header(summed(30, 30), 60, kAll));
  CHECK_FALSE(valid_net_header(summed(0xffff, 0xffff), 60, kAll));
  CHECK_FALSE(valid_net_header(summed(0xffff, 1), 65'535, kAll));
}

TEST_CASE("[case 73] net header: headers that are longer than the frame are dropped") {
  virtio_net_hdr_v1 header = large();
  header.hdr_len = 100;
  CHECK(valid_net_header(header, 100, kAll));
  CHECK_FALSE(valid_net_header(header, 99, kAll));
}

TEST_CASE("[case 74] net header: frames shorter than 14 or longer than 65550 bytes are dropped") {
  CHECK_FALSE(valid_net_header({}, 0, kAll));
  CHECK_FALSE(valid_net_header({}, 13, kAll));
  CHECK(valid_net_header({}, 14, kAll));
  CHECK(valid_net_header({}, 65'550, kAll));
  CHECK_FALSE(valid_net_header({}, 65'551, kAll));
  CHECK_FALSE(valid_net_header({}, 1_MiB, kAll));
  CHECK_FALSE(valid_net_header({}, 16_MiB, kAll));
}

TEST_CASE("net header: what was not negotiated is dropped") {
  const unsigned csum = VIRTIO_NET_F_CSUM;
  CHECK_FALSE(valid_net_header(summed(34, 6), 60, kAll & ~feature(csum)));
  CHECK_FALSE(valid_net_header(large(), 4000, kAll & ~feature(VIRTIO_NET_F_HOST_TSO4)));
  CHECK_FALSE(
      valid_net_header(large(VIRTIO_NET_HDR_GSO_TCPV6), 4000, kAll & ~feature(VIRTIO_NET_F_HOST_TSO6)));
  CHECK_FALSE(
      valid_net_header(large(VIRTIO_NET_HDR_GSO_UDP_L4), 4000, kAll & ~feature(VIRTIO_NET_F_HOST_USO)));
  CHECK_FALSE(valid_net_header(large(VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN), 4000,
                               kAll & ~feature(VIRTIO_NET_F_HOST_ECN)));
}

TEST_CASE("net header: what a device is to ignore is not passed on") {
  virtio_net_hdr_v1 header = large(VIRTIO_NET_HDR_GSO_NONE);
  header.flags = 0xfe;
  header.num_buffers = 7;
  const virtio_net_hdr_v1 plain = normal_net_header(header);
  CHECK(plain.flags == 0);
  CHECK(plain.csum_start == 0);
  CHECK(plain.gso_size == 0);
  CHECK(plain.hdr_len == 0);
  CHECK(plain.num_buffers == 0);
  header = large();
  header.flags = 0xff;
  const virtio_net_hdr_v1 cut = normal_net_header(header);
  CHECK(cut.flags == kNeedsSum);
  CHECK(cut.csum_start == 34);
  CHECK(cut.csum_offset == 16);
  CHECK(cut.gso_type == VIRTIO_NET_HDR_GSO_TCPV4);
  CHECK(cut.gso_size == 1448);
  CHECK(cut.hdr_len == 54);
}

}  // namespace
}  // namespace uvmm
