// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "devices/virtio/spec.h"

namespace uvmm {

Vsock::Vsock(Io& io, const VsockHost& host, u32 guest_cid, Log& log)
    : VirtioDevice(io), host_(host), log_(log), config_{.guest_cid = guest_cid}, outbox_(guest_cid, log) {
  got_data_.reserve(kTransmitQueueSize);
}

u16 Vsock::device_id() const {
  return VIRTIO_ID_VSOCK;
}

u64 Vsock::features() const {
  return feature(VIRTIO_VSOCK_F_SEQPACKET);
}

std::span<const u8> Vsock::config() const {
  return {reinterpret_cast<const u8*>(&config_), sizeof config_};
}

void Vsock::start(u64 features) {
  seqpacket_ = has_feature(features, VIRTIO_VSOCK_F_SEQPACKET);
  stopping_ = false;
}

Task<> Vsock::run(Queue& queue, u16 index) {
  switch (index) {
    case kReceiveQueue:
      return outbox_.run(queue);
    case kTransmitQueue:
      return transmit(queue);
    default:
      return leave_alone(queue);
  }
}

// The event queue is for a VM that has moved to another host (virtio 1.2, 5.10.6.7), which none does.
Task<> Vsock::leave_alone(Queue& /*queue*/) {
  co_return;
}

void Vsock::stop() {
  takes_clients_ = false;
  stopping_ = true;
  outbox_.stop();
  drop_all();
}

void Vsock::drop_all() {
  for (VsockConnection* const connection : table_.all()) connection->drop(false);
}

// --- the guest's packets

// With small buffers that come back the guest does nothing but to free them. What it waits for comes by the
// receive queue, and an interrupt beside that one would only hold it up. For large ones it has been seen to
// wait.
Task<> Vsock::transmit(Queue& queue) {
  constexpr u64 kSmall = 4_KiB;
  takes_clients_ = true;
  const int streams = host_.stream_listener();
  const int records = host_.record_listener();
  if (streams >= 0) tasks_.spawn(accept(streams, VIRTIO_VSOCK_TYPE_STREAM));
  if (records >= 0 && seqpacket_) tasks_.spawn(accept(records, VIRTIO_VSOCK_TYPE_SEQPACKET));
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    // Together, so that what goes to one socket goes there in one system call.
    for (u16 taken = 0; chain && taken < queue.size(); ++taken) {
      take(std::move(*chain));
      chain.reset();
      if (taken + 1 < queue.size()) {
        if (std::optional<DescriptorChain> next = queue.try_next()) chain.emplace(std::move(*next));
      }
    }
    queue.delay_interrupts(std::exchange(taken_bytes_, 0) < kSmall);
    flush();
    if (!std::exchange(will_interrupt_, true)) tasks_.spawn(interrupt_later(queue));
  }
  takes_clients_ = false;
  stopping_ = true;
  drop_all();
  co_await tasks_.drained();
}

Task<> Vsock::interrupt_later(Queue& queue) {
  do {
    co_await io_.sleep(kInterruptDelay);
    queue.interrupt_now();
  } while (!stopping_ && queue.expects_interrupt());
  will_interrupt_ = false;
}

void Vsock::take(DescriptorChain&& chain) {
  const std::optional<VsockPacket> packet = take_vsock_packet(chain.readable, config_.guest_cid);
  if (!packet) return log_.guest("vsock: a packet that is none, or not from this guest");
  const u16 op = packet->header.op;
  if (packet->tuple.cid != VMADDR_CID_HOST) {
    // virtio 1.2, 5.10.6.5: where nobody listens the answer is RST, and at other CIDs than the host's nobody
    // does.
    log_.guest("vsock: a packet to CID {}, which is not the host's", packet->tuple.cid);
    if (op == VIRTIO_VSOCK_OP_REQUEST) outbox_.reset(packet->tuple);
    return;
  }
  taken_bytes_ += packet->header.len;
  if (VsockConnection* const connection = table_.find(packet->tuple)) {
    if (op == VIRTIO_VSOCK_OP_REQUEST) return connection->drop(true);
    connection->take(*packet, std::move(chain));
    if (op != VIRTIO_VSOCK_OP_RW || std::exchange(connection->needs_flush, true)) return;
    return got_data_.push_back(connection);
  }
  if (op == VIRTIO_VSOCK_OP_REQUEST && knows_type(packet->tuple.type) && packet->whole)
    return take_request(*packet);
  // virtio 1.2, 5.10.6.4.2: what belongs to no connection is answered with RST; but no RST is.
  if (op != VIRTIO_VSOCK_OP_RST) outbox_.reset(packet->tuple);
}

void Vsock::flush() {
  for (VsockConnection* const connection : got_data_) {
    connection->needs_flush = false;
    connection->flush();
  }
  got_data_.clear();
}

bool Vsock::knows_type(u16 type) const {
  return type == VIRTIO_VSOCK_TYPE_STREAM || (type == VIRTIO_VSOCK_TYPE_SEQPACKET && seqpacket_);
}

void Vsock::take_request(const VsockPacket& packet) {
  if (table_.full()) {
    log_.guest("vsock: more than {} connections", VsockTable::kMostConnections);
    return outbox_.reset(packet.tuple);
  }
  tasks_.spawn(serve(std::make_unique<VsockConnection>(parts(), packet.header, packet.tuple)));
}

// --- the host's programs

Task<> Vsock::accept(int listener, u16 type) {
  constexpr u64 kPause =
      100'000'000;  // nanoseconds; after a failure, which is for want of descriptors or memory
  while (!stopping_) {
    const i32 accepted = co_await io_.accept(listener, SOCK_CLOEXEC | SOCK_NONBLOCK);
    Fd client(accepted);
    if (stopping_) break;
    if (accepted < 0) {
      log_.guest("vsock: cannot accept a connection: {}", error_text(-accepted));
      co_await io_.sleep(kPause);
    } else {
      take_client(std::move(client), type);
    }
  }
}

void Vsock::take_client(Fd client, u16 type) {
  if (!takes_clients_) return;
  if (table_.full() || !host_.within_reserve(client.get())) return log_.guest("vsock: too many connections");
  tasks_.spawn(serve(std::make_unique<VsockConnection>(parts(), std::move(client), type)));
}

Task<> Vsock::serve(std::unique_ptr<VsockConnection> connection) {
  co_await connection->serve();
}

}  // namespace uvmm
