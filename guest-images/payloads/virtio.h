// SPDX-License-Identifier: Apache-2.0
// A virtio-pci driver (virtio 1.2, 4.1) without interrupts: it kicks, then looks until the device is done.
#pragma once

#include <initializer_list>

#include "devices/virtio/spec.h"
#include "pci.h"

namespace payload {

struct Buffer {
  void* data;
  u32 bytes;
  bool device_writes;
};

class VirtQueue {
 public:
  VirtQueue() = default;
  VirtQueue(u16 size, u64 doorbell, u16 index);

  // Makes one request of these buffers available and waits for it. Returns how many bytes the device wrote.
  u32 transfer(std::initializer_list<Buffer> buffers);

  // For those who fill the ring themselves.
  u16 size() const { return size_; }
  u16 index() const { return index_; }
  vring_desc& descriptor(u16 number) { return descriptors_[number]; }
  void offer(u16 head);               // makes it available, without ringing
  void ring() const;                  // the doorbell
  bool take(vring_used_elem& entry);  // the next used entry; false if there is none yet
  u64 doorbell() const { return doorbell_; }
  u64 descriptors() const { return reinterpret_cast<u64>(descriptors_); }
  u64 available() const { return reinterpret_cast<u64>(available_); }
  u64 used() const { return reinterpret_cast<u64>(used_); }

 private:
  u16 size_ = 0;
  u16 index_ = 0;
  u16 seen_ = 0;  // used entries
  u64 doorbell_ = 0;
  vring_desc* descriptors_ = nullptr;
  vring_avail* available_ = nullptr;
  volatile vring_used* used_ = nullptr;
};

class VirtioDevice {
 public:
  // The `nth` device of type `id` in bus order (virtio 1.2, 5), reset and acknowledged. False if there is
  // none.
  bool open(u16 id, u32 nth = 0);

  // Resets it, so that it is as open() left it.
  void restart();
  bool needs_reset() const;

  // Takes VERSION_1 and what is both offered and wanted; returns that.
  u64 negotiate(u64 wanted);
  u64 offered() const { return offered_; }

  // Of at most `most` entries, a power of two.
  VirtQueue set_up_queue(u16 index, u16 most = 64);
  void driver_ok();

  // MSI-X: the function's switch, the vector of a queue, and where the vectors' table is.
  void enable_msix(bool enabled) const;
  void set_vector(u16 queue, u16 vector) const;
  u64 msix_table() const { return msix_table_; }
  const PciDevice& pci() const { return pci_; }

  u8 generation() const { return mmio_read<u8>(common_ + VIRTIO_PCI_COMMON_CFGGENERATION); }
  template <typename T>
  T config(u32 offset) const {
    return mmio_read<T>(config_ + offset);
  }
  template <typename T>
  void set_config(u32 offset, T value) const {
    mmio_write<T>(config_ + offset, value);
  }

 private:
  bool find_structures();
  u64 bar(u8 number) const;
  void set_status(u8 bits);

  PciDevice pci_;
  u64 common_ = 0, config_ = 0, notify_ = 0;
  u32 notify_multiplier_ = 0;
  u64 msix_table_ = 0;
  u8 msix_capability_ = 0;
  u64 offered_ = 0;
};

}  // namespace payload
