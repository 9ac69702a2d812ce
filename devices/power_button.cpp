// SPDX-License-Identifier: Apache-2.0
#include "devices/power_button.h"

#include <linux/input-event-codes.h>

#include <cstring>
#include <string_view>

#include "devices/virtio/spec.h"

namespace uvmm {
namespace {

static_assert(sizeof(virtio_input_config) == 136);
static_assert(sizeof(virtio_input_event) == 8);

constexpr std::string_view kName = "Power Button";
constexpr u16 kBusVirtual = 0x06;  // linux/input.h: BUS_VIRTUAL

// What a press and a release are to the guest: each key event with the report that ends it.
constexpr virtio_input_event kPress[] = {
    {.type = EV_KEY, .code = KEY_POWER, .value = 1},
    {.type = EV_SYN, .code = SYN_REPORT, .value = 0},
    {.type = EV_KEY, .code = KEY_POWER, .value = 0},
    {.type = EV_SYN, .code = SYN_REPORT, .value = 0},
};

}  // namespace

u16 PowerButton::device_id() const {
  return VIRTIO_ID_INPUT;
}

std::span<const u8> PowerButton::config() const {
  return {reinterpret_cast<const u8*>(&config_), sizeof config_};
}

void PowerButton::write_config(u32 offset, std::span<const u8> bytes) {
  // virtio 1.2, 5.8.4: what select and subsel ask for; the rest is read-only.
  for (const u8 byte : bytes) {
    if (offset == offsetof(virtio_input_config, select)) config_.select = byte;
    if (offset == offsetof(virtio_input_config, subsel)) config_.subsel = byte;
    ++offset;
  }
  select();
}

void PowerButton::select() {
  config_.size = 0;
  config_.u = {};
  if (config_.select == VIRTIO_INPUT_CFG_ID_NAME && config_.subsel == 0) {
    std::memcpy(config_.u.string, kName.data(), kName.size());
    config_.size = kName.size();
  } else if (config_.select == VIRTIO_INPUT_CFG_ID_DEVIDS && config_.subsel == 0) {
    config_.u.ids = {.bustype = kBusVirtual, .vendor = kVirtioVendorId, .product = 1, .version = 1};
    config_.size = sizeof config_.u.ids;
  } else if (config_.select == VIRTIO_INPUT_CFG_EV_BITS && config_.subsel == EV_KEY) {
    config_.u.bitmap[KEY_POWER / 8] = 1 << (KEY_POWER % 8);
    config_.size = KEY_POWER / 8 + 1;
  }
}

Task<> PowerButton::run(Queue& queue, u16 index) {
  return index == kEventQueue ? take_buffers(queue) : take_status(queue);
}

Task<> PowerButton::take_buffers(Queue& queue) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    if (chain->writable.size() < sizeof(virtio_input_event) || chain->writable.has_hole()) {
      log_.guest("power button: a buffer that no event fits into");
      continue;
    }
    buffers_.push(std::move(*chain));
  }
  buffers_.clear();
}

// Lights and the like, of which there are none.
Task<> PowerButton::take_status(Queue& queue) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
  }
}

bool PowerButton::press() {
  if (buffers_.size() < std::size(kPress)) return false;
  for (const virtio_input_event& event : kPress) send(event);
  return true;
}

void PowerButton::send(const virtio_input_event& event) {
  DescriptorChain& buffer = buffers_.front();
  buffer.writable.copy_in({reinterpret_cast<const u8*>(&event), sizeof event});
  buffer.written = sizeof event;
  buffers_.pop();
}

}  // namespace uvmm
