// SPDX-License-Identifier: Apache-2.0
// DeviceBus: the virtio devices of one VM on PCI bus 0, with the memory behind their registers and their
// doorbells. Lives in the Machine, no longer than the Vm. Set up by one thread in the order of the functions
// below; accesses belong to the I/O thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <uvmm/monitor.hpp>

#include "arch/x86_64/layout.h"
#include "boot/mapping.h"
#include "devices/pci/host_bridge.h"
#include "devices/virtio/device.h"
#include "devices/virtio/pci_transport.h"
#include "vmm/base/doorbell_maker.h"
#include "vmm/base/fd.h"
#include "vmm/base/msi_router.h"
#include "vmm/kvm/vm.h"

namespace uvmm {

class DeviceBus final : private DoorbellMaker {
 public:
  static constexpr u32 kMaxDevices = HostBridge::kDevices - 1;

  // Room for `count` devices, at most kMaxDevices, which are then attached in this order as 00:01.0, 00:02.0,
  // ...
  static Result<std::unique_ptr<DeviceBus>> create(const kvm::Vm& vm, u32 count);

  // Maps the registers that the guest may read without an exit. `slot` is the first free memory slot.
  Result<void> map(u32 slot) const;

  struct Host {
    Io& io;
    const GuestMemory& memory;
    Log& log;
    MsiRouter& router;
  };
  void attach(std::unique_ptr<VirtioDevice> device, std::string name, const Host& host);

  // Any thread, once all are attached.
  std::vector<DeviceStatistics> statistics() const;

  // Whether anything of the bus may answer at this address.
  static bool contains(GuestAddress gpa);
  void read(GuestAddress gpa, std::span<u8> bytes);
  void write(GuestAddress gpa, std::span<const u8> bytes);

  // As a reset of all devices, for the end: turn the Io until stopped().
  void shut_down();
  bool stopped() const;

 private:
  struct Slot {
    std::string name;
    std::unique_ptr<VirtioDevice> device;
    std::unique_ptr<PciTransport> transport;  // goes first
  };

  DeviceBus(const kvm::Vm& vm, Mapping pages);
  Result<int> add_doorbell(GuestAddress where) override;
  std::span<u8> config_page(u32 device) const;
  std::span<u8> register_pages(u32 device) const;

  const kvm::Vm& vm_;
  // A page of configuration space for the bridge and for each device, then their register pages.
  Mapping pages_;
  u32 count_;
  HostBridge bridge_;
  std::vector<Fd> doorbells_;  // of queues that the guest has rung
  std::vector<Slot> slots_;
};

}  // namespace uvmm
