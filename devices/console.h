// SPDX-License-Identifier: Apache-2.0
// Console: the virtio console device (virtio 1.2, 5.3) with one port. I/O thread only. Its host end outlives
// it.
//
// It asks nothing of the host itself: what the guest transmits is copied to the host end at once, and buffers
// that the guest has posted wait here until the host end has input for them. What it transmits without end is
// copied in pieces, between which the I/O thread lets others run.
#pragma once

#include <linux/virtio_console.h>

#include <array>

#include "devices/console_end.h"
#include "devices/panic_watch.h"
#include "devices/virtio/device.h"
#include "devices/virtio/posted_buffers.h"
#include "vmm/base/log.h"

namespace uvmm {

class Console final : public VirtioDevice, private ConsoleReader {
 public:
  // virtio 1.2, 5.3.2.
  static constexpr u16 kReceiveQueue = 0;
  static constexpr u16 kTransmitQueue = 1;
  static constexpr u16 kQueueSize = 64;
  static constexpr u64 kBytesPerTurn = 64_KiB;  // of output

  Console(Io& io, ConsoleEnd& end, Log& log);
  ~Console() override { end_.set_reader(nullptr); }

  u16 device_id() const override;
  u64 features() const override;
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  std::span<const u8> config() const override;
  void write_config(u32 offset, std::span<const u8> bytes) override;
  Task<> run(Queue& queue, u16 index) override;

  // The terminal has another size. 0 by 0 until then: unknown.
  void resize(u16 columns, u16 rows);

  bool saw_panic() const { return panic_watch_.seen(); }

 private:
  static constexpr std::array<u16, 2> kQueueSizes = {kQueueSize, kQueueSize};

  Task<> receive(Queue& queue);
  Task<> transmit(Queue& queue);
  Task<> take_output(Queue& queue, Segments& data);
  void output(std::span<const u8> bytes);

  bool wants_input() const override { return !buffers_.empty(); }
  u64 take_input(std::span<const u8> bytes) override;

  ConsoleEnd& end_;
  Log& log_;
  virtio_console_config config_{};
  PanicWatch panic_watch_;
  u64 left_in_turn_ = kBytesPerTurn;

  PostedBuffers<kQueueSize> buffers_;  // for input
};

}  // namespace uvmm
