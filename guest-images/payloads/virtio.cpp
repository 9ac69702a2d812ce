// SPDX-License-Identifier: Apache-2.0
#include "virtio.h"

#include <linux/pci_regs.h>

namespace payload {
namespace {

// Order of stores to memory and of what the device does with them: a processor keeps its stores in order, and
// a doorbell is no ordinary store.
void barrier() {
  asm volatile("" : : : "memory");
}

}  // namespace

VirtQueue::VirtQueue(u16 size, u64 doorbell, u16 index)
    : size_(size),
      index_(index),
      doorbell_(doorbell),
      descriptors_(static_cast<vring_desc*>(allocate(sizeof(vring_desc) * size, 16))),
      available_(static_cast<vring_avail*>(allocate(6 + 2 * std::size_t{size}, 2))),
      used_(static_cast<volatile vring_used*>(allocate(6 + 8 * std::size_t{size}, 4))) {
  available_->flags = VRING_AVAIL_F_NO_INTERRUPT;
}

u32 VirtQueue::transfer(std::initializer_list<Buffer> buffers) {
  if (buffers.size() > size_) fail("a request of more buffers than the queue has");
  u16 at = 0;
  for (const Buffer& buffer : buffers) {
    const bool last = at + 1u == buffers.size();
    descriptors_[at] = {
        .addr = reinterpret_cast<u64>(buffer.data),
        .len = buffer.bytes,
        .flags = u16((last ? 0 : VRING_DESC_F_NEXT) | (buffer.device_writes ? VRING_DESC_F_WRITE : 0)),
        .next = u16(at + 1)};
    ++at;
  }
  offer(0);
  ring();
  vring_used_elem entry;
  while (!take(entry)) asm volatile("pause");
  return entry.len;
}

void VirtQueue::offer(u16 head) {
  available_->ring[available_->idx % size_] = head;
  barrier();
  *const_cast<volatile u16*>(&available_->idx) = u16(available_->idx + 1);
}

void VirtQueue::ring() const {
  barrier();
  mmio_write(doorbell_, index_);
}

bool VirtQueue::take(vring_used_elem& entry) {
  if (used_->idx == seen_) return false;
  barrier();
  const volatile vring_used_elem& next = used_->ring[seen_ % size_];
  entry = {next.id, next.len};
  ++seen_;
  return true;
}

bool VirtioDevice::open(u16 id, u32 nth) {
  for (u32 number = 0; number < kPciDevices; ++number) {
    pci_.number = number;
    if (pci_.read<u16>(PCI_VENDOR_ID) != kVirtioVendorId) continue;
    if (pci_.read<u16>(PCI_DEVICE_ID) != kVirtioDeviceIdBase + id) continue;
    if (nth-- > 0) continue;
    pci_.write<u16>(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    if (!find_structures()) fail("device ", number, " lacks a virtio structure");
    restart();
    return true;
  }
  return false;
}

void VirtioDevice::restart() {
  mmio_write<u8>(common_ + VIRTIO_PCI_COMMON_STATUS, 0);
  while (mmio_read<u8>(common_ + VIRTIO_PCI_COMMON_STATUS) != 0) asm volatile("pause");
  offered_ = 0;
  set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
}

bool VirtioDevice::needs_reset() const {
  return mmio_read<u8>(common_ + VIRTIO_PCI_COMMON_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

// virtio 1.2, 4.1.4: the capabilities say where in which BAR each structure is.
bool VirtioDevice::find_structures() {
  for (u8 at = pci_.read<u8>(PCI_CAPABILITY_LIST); at != 0; at = pci_.read<u8>(at + 1u)) {
    const u8 id = pci_.read<u8>(at);
    if (id == PCI_CAP_ID_MSIX) {
      msix_capability_ = at;
      const u32 table = pci_.read<u32>(at + u32{PCI_MSIX_TABLE});
      msix_table_ = bar(u8(table & PCI_MSIX_TABLE_BIR)) + (table & PCI_MSIX_TABLE_OFFSET);
    }
    if (id != PCI_CAP_ID_VNDR) continue;
    const u8 type = pci_.read<u8>(at + VIRTIO_PCI_CAP_CFG_TYPE);
    const u8 number = pci_.read<u8>(at + VIRTIO_PCI_CAP_BAR);
    if (number > 5) continue;
    const u64 structure = bar(number) + pci_.read<u32>(at + VIRTIO_PCI_CAP_OFFSET);
    if (type == VIRTIO_PCI_CAP_COMMON_CFG) common_ = structure;
    if (type == VIRTIO_PCI_CAP_DEVICE_CFG) config_ = structure;
    if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
      notify_ = structure;
      notify_multiplier_ = pci_.read<u32>(at + VIRTIO_PCI_NOTIFY_CAP_MULT);
    }
  }
  return common_ && notify_;
}

u64 VirtioDevice::bar(u8 number) const {
  return pci_.read<u32>(PCI_BASE_ADDRESS_0 + 4u * number) & ~u32{0xf};
}

void VirtioDevice::enable_msix(bool enabled) const {
  pci_.write<u16>(msix_capability_ + u32{PCI_MSIX_FLAGS}, enabled ? PCI_MSIX_FLAGS_ENABLE : 0);
}

void VirtioDevice::set_vector(u16 queue, u16 vector) const {
  mmio_write<u16>(common_ + VIRTIO_PCI_COMMON_Q_SELECT, queue);
  mmio_write<u16>(common_ + VIRTIO_PCI_COMMON_Q_MSIX, vector);
}

void VirtioDevice::set_status(u8 bits) {
  const u8 status = mmio_read<u8>(common_ + VIRTIO_PCI_COMMON_STATUS);
  mmio_write<u8>(common_ + VIRTIO_PCI_COMMON_STATUS, u8(status | bits));
}

u64 VirtioDevice::negotiate(u64 wanted) {
  for (u32 half = 0; half < 2; ++half) {
    mmio_write<u32>(common_ + VIRTIO_PCI_COMMON_DFSELECT, half);
    offered_ |= u64{mmio_read<u32>(common_ + VIRTIO_PCI_COMMON_DF)} << 32 * half;
  }
  const u64 accepted = offered_ & (wanted | feature(VIRTIO_F_VERSION_1));
  for (u32 half = 0; half < 2; ++half) {
    mmio_write<u32>(common_ + VIRTIO_PCI_COMMON_GFSELECT, half);
    mmio_write<u32>(common_ + VIRTIO_PCI_COMMON_GF, u32(accepted >> 32 * half));
  }
  set_status(VIRTIO_CONFIG_S_FEATURES_OK);
  if (!(mmio_read<u8>(common_ + VIRTIO_PCI_COMMON_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK)) {
    fail("the device refuses the features");
  }
  return accepted;
}

VirtQueue VirtioDevice::set_up_queue(u16 index, u16 most) {
  mmio_write<u16>(common_ + VIRTIO_PCI_COMMON_Q_SELECT, index);
  u16 size = mmio_read<u16>(common_ + VIRTIO_PCI_COMMON_Q_SIZE);
  if (size == 0) fail("the device has no queue ", u32{index});
  if (size > most) {
    size = most;
    mmio_write<u16>(common_ + VIRTIO_PCI_COMMON_Q_SIZE, size);
  }
  const u64 doorbell = notify_ + u64{mmio_read<u16>(common_ + VIRTIO_PCI_COMMON_Q_NOFF)} * notify_multiplier_;
  const VirtQueue queue(size, doorbell, index);
  const auto write_address = [this](u32 register_low, u64 value) {
    mmio_write<u32>(common_ + register_low, u32(value));
    mmio_write<u32>(common_ + register_low + 4, u32(value >> 32));
  };
  write_address(VIRTIO_PCI_COMMON_Q_DESCLO, queue.descriptors());
  write_address(VIRTIO_PCI_COMMON_Q_AVAILLO, queue.available());
  write_address(VIRTIO_PCI_COMMON_Q_USEDLO, queue.used());
  mmio_write<u16>(common_ + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
  return queue;
}

void VirtioDevice::driver_ok() {
  set_status(VIRTIO_CONFIG_S_DRIVER_OK);
}

}  // namespace payload
