// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_packet.h"

#include <cstdint>

namespace uvmm {

std::optional<VsockPacket> take_vsock_packet(Segments& buffers, u64 guest_cid) {
  if (buffers.has_hole()) return std::nullopt;
  const auto header = buffers.take<virtio_vsock_hdr>();
  // virtio 1.2, 5.10.4 and 5.10.6: CIDs have 32 bits, the upper ones are zero.
  if (!header || header->src_cid != guest_cid || header->dst_cid > UINT32_MAX) return std::nullopt;
  VsockPacket packet{
      .header = *header,
      .tuple = {.host_port = header->dst_port,
                .guest_port = header->src_port,
                .type = header->type,
                .cid = static_cast<u32>(header->dst_cid)},
      .whole = header->len <= buffers.size(),
  };
  buffers.truncate(header->len);
  return packet;
}

virtio_vsock_hdr vsock_header(u64 guest_cid, const VsockTuple& tuple, u16 op) {
  return {
      .src_cid = tuple.cid,
      .dst_cid = guest_cid,
      .src_port = tuple.host_port,
      .dst_port = tuple.guest_port,
      .len = 0,
      .type = tuple.type,
      .op = op,
      .flags = 0,
      .buf_alloc = 0,
      .fwd_cnt = 0,
  };
}

}  // namespace uvmm
