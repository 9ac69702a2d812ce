// SPDX-License-Identifier: Apache-2.0
// FakeCard: a virtio device behind the real PciTransport, and a driver's accesses to its registers, through
// which it negotiates, sets queues up and resets. What it borrows outlives it.
#pragma once

#include <linux/pci_regs.h>

#include <span>
#include <type_traits>
#include <vector>

#include "devices/virtio/pci_transport.h"
#include "tests/fakes/fake_device.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {

struct FakeCard {
  static constexpr u32 kMsixTable = 0x1000;

  FakeCard(FakeIo& host, VirtioDevice& behind, const GuestMemory& memory);
  ~FakeCard();  // resets the device

  // What the guest reads: from memory where it is mapped, else through an exit.
  template <typename T>
  T read(u32 offset) {
    T value{};
    if (offset + sizeof(T) <= PciTransport::kRegisterPagesBytes)
      std::memcpy(&value, registers.data() + offset, sizeof value);
    else
      transport.read_bar(offset, {reinterpret_cast<u8*>(&value), sizeof value});
    return value;
  }
  template <typename T>
  void write(u32 offset, std::type_identity_t<T> value) {
    transport.write_bar(offset, {reinterpret_cast<const u8*>(&value), sizeof value});
  }
  template <typename T>
  T config(u32 offset) const {
    T value;
    std::memcpy(&value, config_page.data() + offset, sizeof value);
    return value;
  }
  template <typename T>
  void write_config(u32 offset, std::type_identity_t<T> value) {
    transport.write_config(offset, {reinterpret_cast<const u8*>(&value), sizeof value});
  }
  // Where the capability of virtio `type` is; with type 0, MSI-X.
  u32 capability(u8 type) const;

  // An honest driver's steps (virtio 1.2, 3.1.1), up to FEATURES_OK, for each queue, and DRIVER_OK.
  void negotiate(u64 features = kCommonFeatures);
  void enable_queue(u16 index, const Virtqueue::Layout& layout);
  void driver_ok() { write<u8>(VIRTIO_PCI_COMMON_STATUS, 15); }
  void notify(u16 queue) { write<u16>(PciTransport::doorbell_offset(queue), queue); }

  void enable_msix() { write_config<u16>(capability(0) + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE); }
  void unmask(u16 vector) { write<u32>(kMsixTable + vector * 16 + 12, 0); }

  u8 status() { return read<u8>(VIRTIO_PCI_COMMON_STATUS); }
  // Whether the device was reset once everything had ended that the host was asked for.
  bool reset();

  FakeIo& io;
  VirtioDevice& device;
  Log log;
  FakeMsiRouter router;
  std::vector<u8> config_page = std::vector<u8>(ConfigSpace::kBytes);
  std::vector<u8> registers = std::vector<u8>(PciTransport::kRegisterPagesBytes);
  FakeDoorbells doorbells;
  PciTransport transport;
};

}  // namespace uvmm
