// SPDX-License-Identifier: Apache-2.0
// Vsock: the virtio socket device (virtio 1.2, 5.10): streams and records between the guest and programs of
// the host, without a network. I/O thread only. Its host end outlives it.
//
// This is the device and the sorting of the guest's packets. A VsockConnection is one connection, the
// VsockOutbox the way to the guest, VsockHost the way to the host's programs.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/vsock_connection.h"
#include "devices/vsock_deadlines.h"
#include "devices/vsock_host.h"
#include "devices/vsock_outbox.h"
#include "devices/vsock_table.h"
#include "vmm/base/log.h"

namespace uvmm {

class Vsock final : public VirtioDevice {
 public:
  // virtio 1.2, 5.10.2.
  static constexpr u16 kReceiveQueue = 0;
  static constexpr u16 kTransmitQueue = 1;
  static constexpr u16 kEventQueue = 2;
  static constexpr u16 kTransmitQueueSize = 256;
  static constexpr u16 kEventQueueSize = 16;
  static constexpr u64 kInterruptDelay = 5'000'000;  // nanoseconds; for buffers that were transmitted

  Vsock(Io& io, const VsockHost& host, u32 guest_cid, Log& log);

  u16 device_id() const override;
  u64 features() const override;
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  std::span<const u8> config() const override;
  void start(u64 features) override;
  Task<> run(Queue& queue, u16 index) override;
  void stop() override;

  // A client that is connected already, and names its port as others do. It is dropped if no driver runs.
  void take_client(Fd client) { take_client(std::move(client), VIRTIO_VSOCK_TYPE_STREAM); }

  u64 connections() const { return table_.all().size(); }

 private:
  static constexpr std::array<u16, 3> kQueueSizes = {VsockOutbox::kQueueSize, kTransmitQueueSize,
                                                     kEventQueueSize};

  Task<> transmit(Queue& queue);
  Task<> interrupt_later(Queue& queue);
  Task<> leave_alone(Queue& queue);
  void take(DescriptorChain&& chain);
  void take_request(const VsockPacket& packet);
  bool knows_type(u16 type) const;
  void flush();
  void drop_all();

  Task<> accept(int listener, u16 type);
  void take_client(Fd client, u16 type);
  Task<> serve(std::unique_ptr<VsockConnection> connection);
  VsockConnection::Parts parts() { return {io_, host_, table_, outbox_, deadlines_, log_}; }

  const VsockHost& host_;
  Log& log_;
  virtio_vsock_config config_;
  bool seqpacket_ = false;
  bool stopping_ = false;
  bool takes_clients_ = false;  // while transmit() runs, which waits for them
  bool will_interrupt_ = false;
  u64 taken_bytes_ = 0;  // of data, in this turn
  TaskScope tasks_;      // what transmit() waits for at its end
  VsockTable table_;
  VsockOutbox outbox_;
  VsockDeadlines deadlines_{io_, tasks_};
  std::vector<VsockConnection*> got_data_;  // in this turn
};

}  // namespace uvmm
