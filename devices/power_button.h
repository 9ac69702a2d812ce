// SPDX-License-Identifier: Apache-2.0
// PowerButton: a virtio input device (virtio 1.2, 5.8) with one key, KEY_POWER, which stock guests obey
// without any other hardware: systemd-logind, or acpid where there is no systemd. I/O thread only.
#pragma once

#include <linux/virtio_input.h>

#include <array>
#include <optional>

#include "devices/virtio/device.h"
#include "devices/virtio/posted_buffers.h"
#include "vmm/base/log.h"

namespace uvmm {

class PowerButton final : public VirtioDevice {
 public:
  // virtio 1.2, 5.8.2.
  static constexpr u16 kEventQueue = 0;
  static constexpr u16 kStatusQueue = 1;
  static constexpr u16 kQueueSize = 16;

  PowerButton(Io& io, Log& log) : VirtioDevice(io), log_(log) {}

  u16 device_id() const override;
  u64 features() const override { return 0; }
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  std::span<const u8> config() const override;
  void write_config(u32 offset, std::span<const u8> bytes) override;
  Task<> run(Queue& queue, u16 index) override;
  void reset() override { config_ = {}; }

  // Presses and releases the key. False if the guest has no driver that listens.
  bool press();

 private:
  static constexpr std::array<u16, 2> kQueueSizes = {kQueueSize, kQueueSize};

  Task<> take_buffers(Queue& queue);
  Task<> take_status(Queue& queue);
  void select();
  void send(const virtio_input_event& event);

  Log& log_;
  virtio_input_config config_{};
  PostedBuffers<kQueueSize> buffers_;
};

}  // namespace uvmm
