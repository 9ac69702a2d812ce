// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_connection.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace uvmm {

VsockConnection::VsockConnection(const Parts& parts, const virtio_vsock_hdr& request, const VsockTuple& tuple)
    : Sender(tuple), parts_(parts), from_host_(false), attached_(true), sink_(parts.io, *this) {
  credit_.guest_says(request.buf_alloc, request.fwd_cnt);
  parts_.table.attach(tuple_, *this);
  set_up();
}

VsockConnection::VsockConnection(const Parts& parts, Fd client, u16 type)
    : Sender({.type = type}),
      parts_(parts),
      fd_(std::move(client)),
      from_host_(true),
      sink_(parts.io, *this) {
  if (is_seqpacket()) VsockHost::make_room(fd_.get());
  set_up();
}

void VsockConnection::set_up() {
  parts_.table.add(*this);
  wake_hook_.connection = this;
  wake_hook_.run = [](TurnEnd& hook) { static_cast<WakeHook&>(hook).connection->wake_.resume_all(); };
  end_watch_.connection = this;
  end_watch_.kind = Op::Kind::kPollMultishot;
  end_watch_.on_complete = [](Op& op, i32 events, bool more) {
    static_cast<EndWatch&>(op).connection->saw_events(events, more);
  };
}

VsockConnection::~VsockConnection() {
  detach();
  parts_.deadlines.clear(*this);
  parts_.io.forget(wake_hook_);
  parts_.table.remove(*this);
}

Task<> VsockConnection::serve() {
  if (from_host_) {
    co_await take_client();
  } else {
    co_await connect_to_host();
  }
  if (wants_to_read() && is_seqpacket()) co_await read_records();
  if (wants_to_read() && !is_seqpacket()) co_await read_bytes();
  parts_.outbox.take_back(*this);
  co_await watch_for_end();
  sink_.abandon();
  detach();
  co_await sink_.ended();
}

// Nothing is read from the host any more: it has said all, or the guest wants no more of it. The guest may
// still send, until it closes or the host does. The latter is watched for by a poll that goes on and on,
// because on the ring one for nothing but POLLHUP ends with POLLRDHUP, too, which is old news here.
Task<> VsockConnection::watch_for_end() {
  if (hung_up_) say_shutdown(kVsockShutdownBoth);
  if (!hung_up_ && !finished()) {
    end_watch_.in_flight = true;
    end_watch_.fd = fd_.get();
    parts_.io.submit(end_watch_);
  }
  while (!finished()) co_await wake_.wait();
  if (end_watch_.in_flight) parts_.io.cancel(end_watch_);
  while (end_watch_.in_flight) co_await wake_.wait();
}

void VsockConnection::saw_events(i32 events, bool more) {
  end_watch_.in_flight = more;
  if (!hung_up_ && !dropped_ && (events < 0 || (events & (POLLHUP | POLLERR)))) {
    hung_up_ = true;
    say_shutdown(kVsockShutdownBoth);
  }
  if (!more && !hung_up_ && !finished()) {  // the kernel ends it when it is short of room for completions
    end_watch_.in_flight = true;
    parts_.io.submit(end_watch_);
  }
  wake();
}

// --- what the guest says

void VsockConnection::take(const VsockPacket& packet, DescriptorChain&& chain) {
  const virtio_vsock_hdr& header = packet.header;
  credit_.guest_says(header.buf_alloc, header.fwd_cnt);
  if (credit_.guest_room() > 0) {
    asked_for_credit_ = false;
    wake();
  }
  if (!packet.whole || tuple_.type != packet.tuple.type) return drop(true);

  switch (header.op) {
    case VIRTIO_VSOCK_OP_RESPONSE:
      return respond();
    case VIRTIO_VSOCK_OP_RST:
      // A guest that has closed may be tired of waiting: what it has sent is delivered all the same.
      if (guest_shutdown_ != kVsockShutdownBoth) return drop(false);
      detach();
      parts_.deadlines.set(*this, kDeliverSeconds);
      return settle();
    case VIRTIO_VSOCK_OP_SHUTDOWN:
      return take_shutdown(header.flags & kVsockShutdownBoth);
    case VIRTIO_VSOCK_OP_RW:
      return take_data(packet, std::move(chain));
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
      return;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
      return parts_.outbox.say(*this, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    default:
      return drop(true);
  }
}

void VsockConnection::respond() {
  if (state_ != State::kRequested) return drop(true);
  state_ = State::kEstablished;
  parts_.deadlines.clear(*this);
  wake();
}

void VsockConnection::take_shutdown(u32 flags) {
  if (state_ != State::kEstablished && flags != 0) return drop(true);
  const u32 before = std::exchange(guest_shutdown_, guest_shutdown_ | flags);
  if (guest_shutdown_ == before) return;
  if (guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_RCV) {
    ::shutdown(fd_.get(), SHUT_RD);  // never waits on a Unix socket; ends a poll for input
    wake();
  }
  if (guest_shutdown_ == kVsockShutdownBoth) parts_.deadlines.set(*this, kCloseSeconds);
  settle();
}

void VsockConnection::take_data(const VsockPacket& packet, DescriptorChain&& chain) {
  const u32 bytes = packet.header.len;
  if (state_ != State::kEstablished || (guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_SEND) ||
      !credit_.received(bytes)) {
    parts_.log.guest("vsock: data from port {} that may not be sent", tuple_.guest_port);
    return drop(true);
  }
  if (deaf_) return forwarded(bytes);
  if (!is_seqpacket()) return sink_.push(std::move(chain));
  const bool last = packet.header.flags & VIRTIO_VSOCK_SEQ_EOM;
  if (!sink_.push_record(chain.readable, last)) drop(true);
}

// --- what becomes of it

void VsockConnection::forwarded(u32 bytes) {
  credit_.forwarded(bytes);
  if (!attached_) return parts_.deadlines.set(*this, kDeliverSeconds);
  if (credit_.update_due()) parts_.outbox.say(*this, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

void VsockConnection::sink_failed(i32 error) {
  deaf_ = true;
  credit_.forwarded(credit_.kept());
  if (error != -EPIPE && error != -ECONNRESET) return drop(true);
  say_shutdown(VIRTIO_VSOCK_SHUTDOWN_RCV);
}

// Tells the guest that the host's program no longer receives, or sends.
void VsockConnection::say_shutdown(u32 flags) {
  if (!attached_ || (shutdown_ & flags) == flags) return;
  shutdown_ |= flags;
  parts_.outbox.say(*this, VIRTIO_VSOCK_OP_SHUTDOWN);
  // virtio 1.2, 5.10.6.4: the guest confirms the end of both directions with RST.
  if (shutdown_ == kVsockShutdownBoth) parts_.deadlines.set(*this, kCloseSeconds);
}

// What the guest has ended ends here, too, as soon as all it sent before is out, behind the answer to a
// program's line.
void VsockConnection::settle() {
  if (!sink_.is_open() || !sink_.empty() || dropped_) return;
  if (guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_SEND) ::shutdown(fd_.get(), SHUT_WR);
  if (attached_ && guest_shutdown_ != kVsockShutdownBoth) return;
  drop(true);
}

void VsockConnection::timed_out() {
  const bool closing = guest_shutdown_ == kVsockShutdownBoth;
  if (!attached_ || !closing) return drop(true);
  // The guest gets its answer, and may use the ports again; what it has sent is still delivered.
  parts_.outbox.reset(tuple_);
  detach();
  parts_.deadlines.set(*this, kDeliverSeconds);
}

void VsockConnection::drop(bool tell_guest) {
  if (dropped_) return;
  dropped_ = true;
  if (attached_ && tell_guest) parts_.outbox.reset(tuple_);
  detach();
  parts_.deadlines.clear(*this);
  sink_.abandon();
  if (fd_) ::shutdown(fd_.get(), SHUT_RDWR);  // ends what is in flight
  wake();
}

void VsockConnection::detach() {
  if (!std::exchange(attached_, false)) return;
  parts_.table.detach(tuple_);
  parts_.outbox.forget(*this);
}

}  // namespace uvmm
