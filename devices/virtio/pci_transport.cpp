// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/pci_transport.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <utility>

#include "devices/virtio/spec.h"

namespace uvmm {
namespace {

constexpr u32 kCommon = 0;
constexpr u32 kMsixTable = 1 * kPageSize;
static_assert((PciTransport::kMaxQueues + 1) * Msix::kEntryBytes <= kPageSize);
constexpr u32 kDeviceConfig = 3 * kPageSize;
constexpr u32 kMsixPba = 4 * kPageSize;
constexpr u32 kIsr = 5 * kPageSize;
constexpr u32 kNotify = PciTransport::kNotifyOffset;

// struct msix_cap of PCI 3.0, 6.8.2.
struct msix_capability {
  u8 id;
  u8 next;
  le16 message_control;
  le32 table;
  le32 pba;
};
static_assert(sizeof(msix_capability) == PCI_CAP_MSIX_SIZEOF);

u32 class_code(u16 device_id) {
  switch (device_id) {
    case VIRTIO_ID_NET:
      return 0x020000;  // Ethernet controller
    case VIRTIO_ID_BLOCK:
    case VIRTIO_ID_FS:
      return 0x018000;  // other mass storage controller
    case VIRTIO_ID_CONSOLE:
    case VIRTIO_ID_VSOCK:
      return 0x078000;  // other communication controller
    default:
      return 0xff0000;  // in no class
  }
}

// virtio 1.2, 4.1.2.1.
ConfigSpace::Identity identity(u16 device_id) {
  const u16 id = static_cast<u16>(kVirtioDeviceIdBase + device_id);
  return {.vendor = kVirtioVendorId,
          .device = id,
          .subsystem_vendor = kVirtioVendorId,
          .subsystem = id,
          .class_code = class_code(device_id),
          .revision = 1};
}

template <typename T>
std::span<const u8> bytes_of(const T& value) {
  return {reinterpret_cast<const u8*>(&value), sizeof value};
}

u32 value_of(std::span<const u8> bytes) {
  le32 value = 0;
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

// What `source` has from `offset` on.
void copy_part(std::span<const u8> source, u32 offset, std::span<u8> bytes) {
  if (offset >= source.size()) return;
  const std::span<const u8> part = source.subspan(offset);
  std::ranges::copy(part.first(std::min(part.size(), bytes.size())), bytes.begin());
}

virtio_pci_cap capability(u8 type, u32 offset, u32 length, u8 capability_bytes = sizeof(virtio_pci_cap)) {
  return {.cap_vndr = PCI_CAP_ID_VNDR,
          .cap_next = 0,
          .cap_len = capability_bytes,
          .cfg_type = type,
          .bar = 0,
          .id = 0,
          .padding = {},
          .offset = offset,
          .length = length};
}

}  // namespace

#define UVMM_FIELD(name) \
  offsetof(virtio_pci_common_cfg, name), sizeof(std::declval<virtio_pci_common_cfg>().name)

// virtio 1.2, 4.1.4.3: what the driver may write. All else there is for reading only.
const PciTransport::Register PciTransport::kRegisters[] = {
    {UVMM_FIELD(device_feature_select), [](PciTransport& t, u32 value) { t.device_feature_select_ = value; }},
    {UVMM_FIELD(guest_feature_select), [](PciTransport& t, u32 value) { t.driver_feature_select_ = value; }},
    {UVMM_FIELD(guest_feature),
     [](PciTransport& t, u32 value) { t.control_.write_driver_features(t.driver_feature_select_, value); }},
    {UVMM_FIELD(msix_config), [](PciTransport& t, u32 value) { t.config_vector_ = t.map_vector(value); }},
    {UVMM_FIELD(device_status),
     [](PciTransport& t, u32 value) { t.control_.write_status(static_cast<u8>(value)); }},
    {UVMM_FIELD(queue_select), [](PciTransport& t, u32 value) { t.queue_select_ = static_cast<u16>(value); }},
    {UVMM_FIELD(queue_size),
     [](PciTransport& t, u32 value) {
       t.control_.write_queue_size(t.queue_select_, static_cast<u16>(value));
     }},
    {UVMM_FIELD(queue_msix_vector),
     [](PciTransport& t, u32 value) {
       if (t.queue_select_ < t.interrupts_.size())
         t.interrupts_[t.queue_select_].vector = t.map_vector(value);
     }},
    {UVMM_FIELD(queue_enable),
     [](PciTransport& t, u32 value) {
       t.control_.write_queue_enable(t.queue_select_, static_cast<u16>(value));
     }},
    {UVMM_FIELD(queue_desc_lo),
     [](PciTransport& t, u32 value) { t.write_queue_address(RingPart::kDescriptors, false, value); }},
    {UVMM_FIELD(queue_desc_hi),
     [](PciTransport& t, u32 value) { t.write_queue_address(RingPart::kDescriptors, true, value); }},
    {UVMM_FIELD(queue_avail_lo),
     [](PciTransport& t, u32 value) { t.write_queue_address(RingPart::kDriverArea, false, value); }},
    {UVMM_FIELD(queue_avail_hi),
     [](PciTransport& t, u32 value) { t.write_queue_address(RingPart::kDriverArea, true, value); }},
    {UVMM_FIELD(queue_used_lo),
     [](PciTransport& t, u32 value) { t.write_queue_address(RingPart::kDeviceArea, false, value); }},
    {UVMM_FIELD(queue_used_hi),
     [](PciTransport& t, u32 value) { t.write_queue_address(RingPart::kDeviceArea, true, value); }},
};
#undef UVMM_FIELD

PciTransport::PciTransport(VirtioDevice& device, const Parts& parts)
    : device_(device),
      doorbells_(parts.doorbells),
      bar_(guest(parts.bar_address)),
      registers_(parts.register_pages),
      config_(parts.config_page, identity(device.device_id())),
      msix_({.io = parts.io,
             .router = parts.router,
             .log = parts.log,
             .name = parts.name,
             // One for each queue, and one for changes of the configuration.
             .table = registers_.subspan(kMsixTable, (device.queue_sizes().size() + 1) * Msix::kEntryBytes)}),
      interrupts_(device.queue_sizes().size()),
      control_(device, {.io = parts.io, .memory = parts.memory, .log = parts.log, .name = parts.name},
               static_cast<Control::Face&>(*this)) {
  assert(registers_.size() == kRegisterPagesBytes && interrupts_.size() <= kMaxQueues);
  assert(device.config().size() <= kPageSize);
  for (QueueInterrupt& interrupt : interrupts_) interrupt.transport = this;
  config_.set_bar(parts.bar_address, kBarBytes);
  add_capabilities();
  show_common();
}

void PciTransport::add_capabilities() {
  config_.add_capability(
      bytes_of(capability(VIRTIO_PCI_CAP_COMMON_CFG, kCommon, sizeof(virtio_pci_common_cfg))));
  config_.add_capability(bytes_of(capability(VIRTIO_PCI_CAP_ISR_CFG, kIsr, 1)));
  if (!device_.config().empty()) {
    const u32 length = static_cast<u32>(device_.config().size());
    config_.add_capability(bytes_of(capability(VIRTIO_PCI_CAP_DEVICE_CFG, kDeviceConfig, length)));
  }
  const u32 notify_bytes = static_cast<u32>(interrupts_.size()) * kNotifyMultiplier;
  config_.add_capability(bytes_of(virtio_pci_notify_cap{
      capability(VIRTIO_PCI_CAP_NOTIFY_CFG, kNotify, notify_bytes, sizeof(virtio_pci_notify_cap)),
      kNotifyMultiplier}));

  window_capability_ = config_.add_capability(
      bytes_of(virtio_pci_cfg_cap{capability(VIRTIO_PCI_CAP_PCI_CFG, 0, 0, sizeof(virtio_pci_cfg_cap)), {}}));
  virtio_pci_cfg_cap writable{};  // virtio 1.2, 4.1.4.9.1
  writable.cap.bar = 0xff;
  writable.cap.offset = writable.cap.length = 0xffff'ffff;
  std::ranges::fill(writable.pci_cfg_data, 0xff);
  config_.make_writable(window_capability_, bytes_of(writable));

  msix_capability_ = config_.add_capability(
      bytes_of(msix_capability{.id = PCI_CAP_ID_MSIX,
                               .message_control = static_cast<le16>(msix_.vectors() - 1),
                               .table = kMsixTable,
                               .pba = kMsixPba}));
  const le16 control = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
  config_.make_writable(msix_capability_ + PCI_MSIX_FLAGS, bytes_of(control));
}

void PciTransport::read_config(u32 offset, std::span<u8> bytes) {
  config_.read(offset, bytes);
}

void PciTransport::write_config(u32 offset, std::span<const u8> bytes) {
  if (!config_.write(offset, bytes)) return;
  const le16 control = config_.load<le16>(msix_capability_ + PCI_MSIX_FLAGS);
  msix_.set_control(control & PCI_MSIX_FLAGS_ENABLE, control & PCI_MSIX_FLAGS_MASKALL);

  const u32 data = window_capability_ + offsetof(virtio_pci_cfg_cap, pci_cfg_data);
  if (offset >= window_capability_ && offset < data + sizeof(le32)) use_window(offset >= data);
}

void PciTransport::read_bar(u32 offset, std::span<u8> bytes) {
  std::ranges::fill(bytes, u8{0});
  if (offset >= kBarBytes || bytes.size() > kBarBytes - offset) return;
  if (offset < kDeviceConfig) {
    copy_part(registers_, offset, bytes);
  } else if (offset < kMsixPba) {
    copy_part(device_.config(), offset - kDeviceConfig, bytes);
  } else if (offset < kIsr) {
    msix_.read_pba(offset - kMsixPba, bytes);
  } else if (offset == kIsr && !bytes.empty()) {
    bytes[0] = std::exchange(isr_, u8{0});  // virtio 1.2, 4.1.4.5.1
  }
}

void PciTransport::write_bar(u32 offset, std::span<const u8> bytes) {
  if (bytes.empty() || offset >= kBarBytes || bytes.size() > kBarBytes - offset) return;
  if (offset < kMsixTable) {
    write_common(offset, bytes);
  } else if (offset < kDeviceConfig) {
    msix_.write_table(offset - kMsixTable, bytes);
  } else if (offset < kMsixPba) {
    write_device_config(offset - kDeviceConfig, bytes);
  } else if (offset >= kNotify && offset % kNotifyMultiplier == 0) {
    control_.notify(static_cast<u16>((offset - kNotify) / kNotifyMultiplier));
  }
  show_window();
}

// virtio 1.2, 4.1.3.1: each field is written whole, 64-bit ones as two halves. Anything else is dropped.
void PciTransport::write_common(u32 offset, std::span<const u8> bytes) {
  for (const Register& field : kRegisters) {
    if (field.offset != offset || field.bytes != bytes.size()) continue;
    field.write(*this, value_of(bytes));
    return show_common();
  }
}

void PciTransport::write_device_config(u32 offset, std::span<const u8> bytes) {
  const u64 size = device_.config().size();
  if (offset > size || bytes.size() > size - offset) return;
  device_.write_config(offset, bytes);
}

void PciTransport::write_queue_address(RingPart part, bool high_half, u32 value) {
  control_.write_queue_address(queue_select_, part, high_half, value);
}

// virtio 1.2, 4.1.5.1.2.1: a vector that cannot be mapped reads back as none.
u16 PciTransport::map_vector(u32 value) {
  const u16 vector = static_cast<u16>(value);
  return msix_.claim(vector) ? vector : u16{VIRTIO_MSI_NO_VECTOR};
}

// Writes down what the driver reads, as the selectors have it now.
void PciTransport::show_common() {
  virtio_pci_common_cfg shown{};
  shown.device_feature_select = device_feature_select_;
  if (device_feature_select_ <= 1)
    shown.device_feature = static_cast<le32>(control_.offered_features() >> 32 * device_feature_select_);
  shown.guest_feature_select = driver_feature_select_;
  if (driver_feature_select_ <= 1)
    shown.guest_feature = static_cast<le32>(control_.driver_features() >> 32 * driver_feature_select_);
  shown.msix_config = config_vector_;
  shown.num_queues = control_.num_queues();
  shown.device_status = control_.status();
  shown.config_generation = control_.generation();
  shown.queue_select = queue_select_;
  if (const Control::QueueRegisters* const queue = control_.queue(queue_select_)) {
    const auto [size, descriptors, driver_area, device_area] = queue->layout;
    shown.queue_size = size;
    shown.queue_msix_vector = interrupts_[queue_select_].vector;
    shown.queue_enable = queue->enabled;
    shown.queue_notify_off = queue_select_;
    shown.queue_desc_lo = static_cast<le32>(address(descriptors));
    shown.queue_desc_hi = static_cast<le32>(address(descriptors) >> 32);
    shown.queue_avail_lo = static_cast<le32>(address(driver_area));
    shown.queue_avail_hi = static_cast<le32>(address(driver_area) >> 32);
    shown.queue_used_lo = static_cast<le32>(address(device_area));
    shown.queue_used_hi = static_cast<le32>(address(device_area) >> 32);
  }
  std::memcpy(registers_.data() + kCommon, &shown, sizeof shown);
}

// virtio 1.2, 4.1.4.9: a window into the BAR for those who cannot map it. Its reads are memory as all of the
// configuration space, so the data is put there as soon as the window is set, and again when registers
// change. The ISR reads as 0 through it, since only a read may clear it, and the notify area as ever.
void PciTransport::use_window(bool write) {
  const auto window = config_.load<virtio_pci_cfg_cap>(window_capability_);
  const u32 length = window.cap.length;
  if (write && window.cap.bar == 0 && (length == 1 || length == 2 || length == 4) &&
      window.cap.offset % length == 0)
    write_bar(window.cap.offset, std::span(window.pci_cfg_data).first(length));
  else
    show_window();
}

void PciTransport::show_window() {
  auto window = config_.load<virtio_pci_cfg_cap>(window_capability_);
  const u32 length = window.cap.length;
  const u32 offset = window.cap.offset;
  if (window.cap.bar != 0 || (length != 1 && length != 2 && length != 4) || offset % length) return;
  std::ranges::fill(window.pci_cfg_data, 0);
  if (offset < kIsr) read_bar(offset, std::span(window.pci_cfg_data).first(length));
  config_.store(window_capability_, window);
}

// virtio 1.2, 4.1.5.1.4: the ISR's queue bit stands in for an interrupt where MSI-X is off.
void PciTransport::QueueInterrupt::raise() {
  if (!transport->msix_.enabled()) transport->isr_ |= kIsrQueue;
  transport->msix_.raise(vector);
}

Result<int> PciTransport::add_doorbell(u16 index) {
  return doorbells_.add_doorbell(bar_ + doorbell_offset(index));
}

void PciTransport::raise_config_interrupt() {
  isr_ |= VIRTIO_PCI_ISR_CONFIG;  // virtio 1.2, 4.1.4.5.1: before the notification
  msix_.raise(config_vector_);
}

void PciTransport::registers_changed() {
  show_common();
  show_window();
}

void PciTransport::reset_completed() {
  config_vector_ = VIRTIO_MSI_NO_VECTOR;
  for (QueueInterrupt& interrupt : interrupts_) interrupt.vector = VIRTIO_MSI_NO_VECTOR;
  isr_ = 0;
  device_feature_select_ = driver_feature_select_ = 0;
  queue_select_ = 0;
  registers_changed();
}

}  // namespace uvmm
