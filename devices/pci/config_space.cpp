// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/config_space.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <bit>
#include <cassert>

namespace uvmm {
namespace {

// Memory decoding and bus mastering are stored, and nothing more: turning memory decoding off, which guests
// do while they size the BAR, does not take the registers away. They are behind memory slots and ioeventfds
// that are never moved, and another vCPU may be using them.
constexpr u16 kWritableCommand = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                                 PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE;

}  // namespace

ConfigSpace::ConfigSpace(std::span<u8> page, const Identity& identity) : page_(page) {
  assert(page.size() == kBytes);
  store<le16>(PCI_VENDOR_ID, identity.vendor);
  store<le16>(PCI_DEVICE_ID, identity.device);
  store<le32>(PCI_CLASS_REVISION, identity.class_code << 8 | identity.revision);
  store<le16>(PCI_SUBSYSTEM_VENDOR_ID, identity.subsystem_vendor);
  store<le16>(PCI_SUBSYSTEM_ID, identity.subsystem);

  const std::array<u8, 2> command{kWritableCommand & 0xff, kWritableCommand >> 8};
  make_writable(PCI_COMMAND, command);
  const std::array<u8, 1> any{0xff};
  make_writable(PCI_CACHE_LINE_SIZE, any);
  make_writable(PCI_INTERRUPT_LINE, any);  // the driver's scratch; there is no interrupt pin
}

u8 ConfigSpace::add_capability(std::span<const u8> bytes) {
  const u8 offset = static_cast<u8>(next_free_);
  next_free_ = static_cast<u32>(align_up(offset + bytes.size(), 4));
  assert(next_free_ <= kHeaderBytes);

  std::ranges::copy(bytes, page_.begin() + offset);
  page_[offset + PCI_CAP_LIST_NEXT] = 0;
  page_[last_capability_ ? last_capability_ + u32{PCI_CAP_LIST_NEXT} : u32{PCI_CAPABILITY_LIST}] = offset;
  last_capability_ = offset;
  store<le16>(PCI_STATUS, PCI_STATUS_CAP_LIST);
  return offset;
}

void ConfigSpace::make_writable(u32 offset, std::span<const u8> mask) {
  std::ranges::copy(mask, writable_.begin() + offset);
}

void ConfigSpace::set_bar(u32 address, u32 bytes) {
  assert(std::has_single_bit(bytes) && address % bytes == 0);
  bar_address_ = address | PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_32;
  bar_bytes_ = bytes;
  store<le32>(PCI_BASE_ADDRESS_0, bar_address_);
}

void ConfigSpace::read(u32 offset, std::span<u8> bytes) const {
  std::ranges::fill(bytes, u8{0xff});
  if (offset > kBytes || bytes.size() > kBytes - offset) return;
  std::ranges::copy(page_.subspan(offset, bytes.size()), bytes.begin());
}

bool ConfigSpace::write(u32 offset, std::span<const u8> bytes) {
  if (bytes.size() > 4 || !std::has_single_bit(bytes.size()) || offset % bytes.size()) return false;
  if (offset >= kHeaderBytes) return false;
  if (offset / 4 == PCI_BASE_ADDRESS_0 / 4) write_bar(bytes);
  for (u32 i = 0; i < bytes.size(); ++i) {
    const u8 mask = writable_[offset + i];
    if (mask) page_[offset + i] = static_cast<u8>((page_[offset + i] & ~mask) | (bytes[i] & mask));
  }
  return true;
}

void ConfigSpace::write_bar(std::span<const u8> bytes) {
  const bool sizing =
      bar_bytes_ && bytes.size() == 4 && std::ranges::all_of(bytes, [](u8 byte) { return byte == 0xff; });
  store<le32>(PCI_BASE_ADDRESS_0, sizing ? ~(bar_bytes_ - 1) : bar_address_);
}

}  // namespace uvmm
