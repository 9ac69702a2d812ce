// SPDX-License-Identifier: Apache-2.0
// Rng: the virtio entropy device (virtio 1.2, 5.4), straight from the host's getrandom. I/O thread only.
//
// It makes one page of random bytes in a turn of the I/O thread and then lets others run: that is how much of
// the thread a guest can have by asking without end.
#pragma once

#include <sys/types.h>

#include <array>

#include "devices/virtio/device.h"

namespace uvmm {

class Rng final : public VirtioDevice {
 public:
  static constexpr u16 kQueueSize = 64;
  static constexpr u64 kMaxRequestBytes = 64_KiB;
  static constexpr u64 kBytesPerTurn = 4_KiB;

  using Source = ssize_t (*)(void* buffer, std::size_t bytes, unsigned flags);  // as getrandom(2)

  explicit Rng(Io& io);
  Rng(Io& io, Source source) : VirtioDevice(io), source_(source) {}

  u16 device_id() const override;
  u64 features() const override { return 0; }
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  std::span<const u8> config() const override { return {}; }
  Task<> run(Queue& queue, u16 index) override;

 private:
  static constexpr std::array<u16, 1> kQueueSizes = {kQueueSize};

  Task<> fill(Queue& queue, DescriptorChain& chain);

  Source source_;
  u64 left_in_turn_ = kBytesPerTurn;
};

}  // namespace uvmm
