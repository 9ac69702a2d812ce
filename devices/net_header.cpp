// SPDX-License-Identifier: Apache-2.0
#include "devices/net_header.h"

namespace uvmm {
namespace {

constexpr u8 kEcn = VIRTIO_NET_HDR_GSO_ECN;

bool may_segment(u8 gso_type, u64 features) {
  switch (gso_type & ~kEcn) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
      return has_feature(features, VIRTIO_NET_F_HOST_TSO4);
    case VIRTIO_NET_HDR_GSO_TCPV6:
      return has_feature(features, VIRTIO_NET_F_HOST_TSO6);
    case VIRTIO_NET_HDR_GSO_UDP_L4:
      return has_feature(features, VIRTIO_NET_F_HOST_USO);
    default:
      return false;
  }
}

}  // namespace

bool valid_net_header(const virtio_net_hdr_v1& header, u64 frame_bytes, u64 features) {
  if (frame_bytes < kShortestFrame || frame_bytes > kLongestFrame) return false;
  if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
    constexpr u32 kSumBytes = 2;
    if (!has_feature(features, VIRTIO_NET_F_CSUM)) return false;
    if (u32{header.csum_start} + header.csum_offset + kSumBytes > frame_bytes) return false;
  }
  if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE) return true;
  if (header.gso_size == 0 || header.hdr_len > frame_bytes) return false;
  if ((header.gso_type & kEcn) && !has_feature(features, VIRTIO_NET_F_HOST_ECN)) return false;
  return may_segment(header.gso_type, features);
}

virtio_net_hdr_v1 normal_net_header(const virtio_net_hdr_v1& header) {
  virtio_net_hdr_v1 normal{};
  if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
    normal.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    normal.csum_start = header.csum_start;
    normal.csum_offset = header.csum_offset;
  }
  if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
    normal.gso_type = header.gso_type;
    normal.gso_size = header.gso_size;
    normal.hdr_len = header.hdr_len;
  }
  return normal;
}

}  // namespace uvmm
