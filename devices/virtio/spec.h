// SPDX-License-Identifier: Apache-2.0
// The virtio specification's numbers. Values only. They come from the kernel's headers; here is what those
// lack, and the few helpers that reading them takes.
#pragma once

// Without the interfaces from before virtio 1.0, part of which is no C++.
#define VIRTIO_CONFIG_NO_LEGACY
#define VIRTIO_PCI_NO_LEGACY
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "vmm/base/types.h"

namespace uvmm {

// Feature bits are numbered in the headers; sets of them are masks here.
constexpr u64 feature(unsigned bit) {
  return u64{1} << bit;
}
constexpr bool has_feature(u64 features, unsigned bit) {
  return (features & feature(bit)) != 0;
}

// What the transport and the rings offer for every device (virtio 1.2, 6).
inline constexpr u64 kCommonFeatures =
    feature(VIRTIO_F_VERSION_1) | feature(VIRTIO_RING_F_EVENT_IDX) | feature(VIRTIO_RING_F_INDIRECT_DESC);

// virtio 1.2, 4.1.4.5: the ISR's first bit; the headers have only the second one, VIRTIO_PCI_ISR_CONFIG.
inline constexpr u8 kIsrQueue = 0x1;

// virtio 1.2, 4.1.2.1.
inline constexpr u16 kVirtioVendorId = 0x1af4;
inline constexpr u16 kVirtioDeviceIdBase = 0x1040;

static_assert(sizeof(vring_desc) == 16);
static_assert(sizeof(vring_used_elem) == 8);
static_assert(sizeof(virtio_pci_cap) == 16);
static_assert(sizeof(virtio_pci_notify_cap) == 20);
static_assert(sizeof(virtio_pci_cfg_cap) == 20);
static_assert(sizeof(virtio_pci_common_cfg) == 56);

}  // namespace uvmm
