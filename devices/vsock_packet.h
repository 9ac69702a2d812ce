// SPDX-License-Identifier: Apache-2.0
// A vsock packet's header (virtio 1.2, 5.10.6), checked; and who is meant by it. Plain data and pure
// functions.
#pragma once

#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>

#include <optional>

#include "devices/virtio/segments.h"
#include "vmm/base/types.h"

namespace uvmm {

static_assert(sizeof(virtio_vsock_config) == 8);
static_assert(sizeof(virtio_vsock_hdr) == 44);

// virtio 1.2, 5.10.6.4: both directions are ended.
inline constexpr u32 kVsockShutdownBoth = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;

// A connection between the host's port and the guest's. The ports alone tell connections apart: only the host
// has any.
struct VsockTuple {
  u32 host_port = 0;
  u32 guest_port = 0;
  u16 type = 0;               // VIRTIO_VSOCK_TYPE_*
  u32 cid = VMADDR_CID_HOST;  // whom the guest means
};

struct VsockPacket {
  virtio_vsock_hdr header{};
  VsockTuple tuple;
  bool whole = true;  // the buffers hold as many bytes as the header says
};

// Takes a packet from the guest off `buffers`, in which its data is left; nothing if it is not even a header,
// or not from `guest_cid` to a CID: such a packet can have no answer.
std::optional<VsockPacket> take_vsock_packet(Segments& buffers, u64 guest_cid);

// The header of a packet to the guest, without data and credit.
virtio_vsock_hdr vsock_header(u64 guest_cid, const VsockTuple& tuple, u16 op);

}  // namespace uvmm
