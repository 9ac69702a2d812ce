// SPDX-License-Identifier: Apache-2.0
// The header in front of every frame (virtio 1.2, 5.1.6): numbers that the kernel's headers lack, and what a
// driver may say in it. Pure functions.
#pragma once

#include "devices/virtio/spec.h"

#define class class_  // a field's name in there
#include <linux/virtio_net.h>
#undef class

#include "vmm/base/types.h"

namespace uvmm {

#ifndef VIRTIO_NET_F_GUEST_USO4  // Linux 6.2
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

static_assert(sizeof(virtio_net_hdr_v1) == 12);

// What a device may do for the driver's frames, and what the driver may be left to do for the device's.
inline constexpr u64 kNetHostOffloads = feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_HOST_TSO4) |
                                        feature(VIRTIO_NET_F_HOST_TSO6) | feature(VIRTIO_NET_F_HOST_ECN) |
                                        feature(VIRTIO_NET_F_HOST_USO);
inline constexpr u64 kNetGuestLargeFrames =
    feature(VIRTIO_NET_F_GUEST_TSO4) | feature(VIRTIO_NET_F_GUEST_TSO6) | feature(VIRTIO_NET_F_GUEST_USO4) |
    feature(VIRTIO_NET_F_GUEST_USO6);
inline constexpr u64 kNetGuestOffloads =
    kNetGuestLargeFrames | feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_ECN);

// Lengths of Ethernet frames without the header: the shortest, and the longest that any offload makes, a
// packet of 64 KiB behind its addresses and type.
inline constexpr u32 kShortestFrame = 14;
inline constexpr u32 kLongestFrame = 65'550;

// Whether a driver that has negotiated `features` may send a frame of `frame_bytes` with this header (virtio
// 1.2, 5.1.6.2.1).
bool valid_net_header(const virtio_net_hdr_v1& header, u64 frame_bytes, u64 features);

// The header as it is passed on: without what a device is to ignore (virtio 1.2, 5.1.6.2.2).
virtio_net_hdr_v1 normal_net_header(const virtio_net_hdr_v1& header);

}  // namespace uvmm
