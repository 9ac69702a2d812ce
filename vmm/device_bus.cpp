// SPDX-License-Identifier: Apache-2.0
#include "vmm/device_bus.h"

#include <algorithm>

#include "vmm/base/event_fd.h"

namespace uvmm {
namespace {

constexpr u64 kPagesBytes = ConfigSpace::kBytes + PciTransport::kRegisterPagesBytes;  // of one device

// Device numbers count from 1, since the bridge is 0.
constexpr u32 bar_address(u32 device) {
  return static_cast<u32>(layout::kPciWindow.start) + (device - 1) * PciTransport::kBarBytes;
}
constexpr GuestAddress ecam_address(u32 device) {
  return guest(layout::kEcam.start + HostBridge::ecam_offset(device));
}

bool within(const layout::Range& range, GuestAddress gpa) {
  return address(gpa) >= range.start && address(gpa) - range.start < range.bytes;
}

}  // namespace

Result<std::unique_ptr<DeviceBus>> DeviceBus::create(const kvm::Vm& vm, u32 count) {
  Mapping pages = UVMM_TRY(Mapping::populated(ConfigSpace::kBytes + count * kPagesBytes));
  return std::unique_ptr<DeviceBus>(new DeviceBus(vm, std::move(pages)));
}

DeviceBus::DeviceBus(const kvm::Vm& vm, Mapping pages)
    : vm_(vm),
      pages_(std::move(pages)),
      count_(static_cast<u32>((pages_.bytes().size() - ConfigSpace::kBytes) / kPagesBytes)),
      bridge_(config_page(0)) {
  slots_.reserve(count_);
}

std::span<u8> DeviceBus::config_page(u32 device) const {
  return pages_.bytes().subspan(u64{device} * ConfigSpace::kBytes, ConfigSpace::kBytes);
}

std::span<u8> DeviceBus::register_pages(u32 device) const {
  const u64 start = (u64{count_} + 1) * ConfigSpace::kBytes;
  return pages_.bytes().subspan(start + u64{device - 1} * PciTransport::kRegisterPagesBytes,
                                PciTransport::kRegisterPagesBytes);
}

Result<void> DeviceBus::map(u32 slot) const {
  constexpr auto kReadOnly = kvm::Vm::Access::kReadOnly;
  for (u32 device = 0; device <= count_; ++device) {
    UVMM_CHECK(vm_.set_user_memory_region(slot++, ecam_address(device), config_page(device), kReadOnly));
    if (device == 0) continue;
    UVMM_CHECK(
        vm_.set_user_memory_region(slot++, guest(bar_address(device)), register_pages(device), kReadOnly));
  }
  return {};
}

void DeviceBus::attach(std::unique_ptr<VirtioDevice> device, std::string name, const Host& host) {
  const u32 number = static_cast<u32>(slots_.size()) + 1;
  Slot slot{.name = std::move(name), .device = std::move(device)};
  slot.transport = std::make_unique<PciTransport>(*slot.device, PciTransport::Parts{
                                                                    .io = host.io,
                                                                    .memory = host.memory,
                                                                    .log = host.log,
                                                                    .router = host.router,
                                                                    .doorbells = *this,
                                                                    .name = slot.name,
                                                                    .bar_address = bar_address(number),
                                                                    .config_page = config_page(number),
                                                                    .register_pages = register_pages(number),
                                                                });
  bridge_.attach(number, *slot.transport);
  slots_.push_back(std::move(slot));
}

Result<int> DeviceBus::add_doorbell(GuestAddress where) {
  Fd doorbell = UVMM_TRY(create_eventfd());
  UVMM_CHECK(vm_.ioeventfd(where, doorbell.get()));
  return doorbells_.emplace_back(std::move(doorbell)).get();
}

std::vector<DeviceStatistics> DeviceBus::statistics() const {
  std::vector<DeviceStatistics> all;
  all.reserve(slots_.size());
  for (const Slot& slot : slots_) {
    DeviceStatistics device{
        .name = slot.name, .virtio_id = slot.device->device_id(), .errors = slot.device->errors().value()};
    for (const QueueCounters& queue : slot.transport->counters()) {
      device.queues.push_back({.requests = queue.requests.value(),
                               .bytes_from_guest = queue.bytes_from_guest.value(),
                               .bytes_to_guest = queue.bytes_to_guest.value(),
                               .notifications = queue.notifications.value(),
                               .interrupts = queue.interrupts.value()});
    }
    all.push_back(std::move(device));
  }
  return all;
}

bool DeviceBus::contains(GuestAddress gpa) {
  return within(layout::kEcam, gpa) || within(layout::kPciWindow, gpa);
}

void DeviceBus::read(GuestAddress gpa, std::span<u8> bytes) {
  if (within(layout::kEcam, gpa)) return bridge_.read(address(gpa) - layout::kEcam.start, bytes);
  const u64 offset = address(gpa) - layout::kPciWindow.start;
  const u64 index = offset / PciTransport::kBarBytes;
  if (index < slots_.size())
    return slots_[index].transport->read_bar(offset % PciTransport::kBarBytes, bytes);
  std::ranges::fill(bytes, 0xFF);
}

void DeviceBus::write(GuestAddress gpa, std::span<const u8> bytes) {
  if (within(layout::kEcam, gpa)) return bridge_.write(address(gpa) - layout::kEcam.start, bytes);
  const u64 offset = address(gpa) - layout::kPciWindow.start;
  const u64 index = offset / PciTransport::kBarBytes;
  if (index < slots_.size()) slots_[index].transport->write_bar(offset % PciTransport::kBarBytes, bytes);
}

void DeviceBus::shut_down() {
  for (Slot& slot : slots_) slot.transport->shut_down();
}

bool DeviceBus::stopped() const {
  return std::ranges::all_of(slots_, [](const Slot& slot) { return slot.transport->stopped(); });
}

}  // namespace uvmm
