// SPDX-License-Identifier: Apache-2.0
// PciTransport: the virtio-pci face of one device (virtio 1.2, 4.1): a PCI function with one 32 KiB memory
// BAR. I/O thread only; lives in the Machine, no longer than the device.
//
//   page 0  common configuration                     page 4     MSI-X pending bits
//   page 1  MSI-X table                              page 5     ISR status
//   page 3  device configuration                     pages 6-7  notify area, 4 bytes a queue
//
// The configuration page and the BAR's first two pages are memory that the Machine maps into the guest for
// reading, so most reads are no exit: the bytes there are at any time what a read would return. Writes, and
// reads of what is not mapped, come to the functions below.
//
// The device configuration is not mapped: a driver recognises one that changed between two reads by the
// generation in page 0 (4.1.4.3.1), and no order of plain stores to both pages rules out that it reads half
// of a change within one generation. Reads that are served on the I/O thread, where a change is one piece,
// do.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "devices/pci/config_space.h"
#include "devices/pci/function.h"
#include "devices/pci/msix.h"
#include "devices/virtio/control.h"
#include "vmm/base/doorbell_maker.h"

namespace uvmm {

class PciTransport final : public PciFunction, private Control::Face {
 public:
  static constexpr u32 kBarBytes = 32_KiB;
  static constexpr u32 kRegisterPagesBytes = 2 * kPageSize;  // what the guest may read directly
  static constexpr u32 kNotifyOffset = 6 * kPageSize;
  static constexpr u32 kMaxQueues = 255;  // with a vector each and one for configuration changes

  // Where in the BAR the driver rings for a queue: a write of any length there is the doorbell.
  static constexpr u32 doorbell_offset(u16 queue) { return kNotifyOffset + queue * kNotifyMultiplier; }

  struct Parts {
    Io& io;
    const GuestMemory& memory;
    Log& log;
    MsiRouter& router;
    DoorbellMaker& doorbells;
    std::string name;              // of the device, for messages
    u32 bar_address = 0;           // a multiple of kBarBytes; for good
    std::span<u8> config_page;     // ConfigSpace::kBytes, zeroed; borrowed
    std::span<u8> register_pages;  // kRegisterPagesBytes, zeroed; borrowed
  };
  PciTransport(VirtioDevice& device, const Parts& parts);

  void read_config(u32 offset, std::span<u8> bytes) override;
  void write_config(u32 offset, std::span<const u8> bytes) override;
  // Accesses within the BAR: any offset, any length up to 8.
  void read_bar(u32 offset, std::span<u8> bytes);
  void write_bar(u32 offset, std::span<const u8> bytes);

  // As a reset, for the end: turn the Io until nothing is in flight, then stopped() holds.
  void shut_down() { control_.shut_down(); }
  bool stopped() const { return control_.stopped(); }

  std::span<const QueueCounters> counters() const { return control_.counters(); }

 private:
  using RingPart = Control::RingPart;
  static constexpr u32 kNotifyMultiplier = 4;

  class QueueInterrupt final : public Interrupt {
   public:
    void raise() override;
    PciTransport* transport = nullptr;
    u16 vector = VIRTIO_MSI_NO_VECTOR;
  };

  // One field of struct virtio_pci_common_cfg that the driver writes.
  struct Register {
    u32 offset;
    u32 bytes;
    void (*write)(PciTransport& transport, u32 value);
  };
  static const Register kRegisters[];

  void add_capabilities();
  void write_common(u32 offset, std::span<const u8> bytes);
  void write_device_config(u32 offset, std::span<const u8> bytes);
  void write_queue_address(RingPart part, bool high_half, u32 value);
  u16 map_vector(u32 value);
  void show_common();
  void use_window(bool write);
  void show_window();

  Interrupt& queue_interrupt(u16 index) override { return interrupts_[index]; }
  Result<int> add_doorbell(u16 index) override;
  void raise_config_interrupt() override;
  void registers_changed() override;
  void reset_completed() override;

  VirtioDevice& device_;
  DoorbellMaker& doorbells_;
  const GuestAddress bar_;
  std::span<u8> registers_;
  ConfigSpace config_;
  Msix msix_;
  std::vector<QueueInterrupt> interrupts_;
  Control control_;

  u32 device_feature_select_ = 0;
  u32 driver_feature_select_ = 0;
  u16 queue_select_ = 0;
  u16 config_vector_ = VIRTIO_MSI_NO_VECTOR;
  u8 isr_ = 0;
  u8 msix_capability_ = 0;  // where they are in configuration space
  u8 window_capability_ = 0;
};

}  // namespace uvmm
