// SPDX-License-Identifier: Apache-2.0
// What a VsockConnection does with the host: finding the other end, and reading from it.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "devices/connect_line.h"
#include "devices/vsock_connection.h"

namespace uvmm {
namespace {

constexpr u64 kPause = 10'000'000;  // nanoseconds; after something that may pass

}  // namespace

// --- the other end

Task<> VsockConnection::connect_to_host() {
  fd_ = parts_.host.connect_to_embedder(tuple_.host_port, tuple_.type);
  if (fd_) co_return accept_guest();
  const std::optional<VsockHost::Target> target = parts_.host.target_of(tuple_.host_port);
  if (target) fd_ = parts_.host.new_socket(tuple_.type);
  if (!fd_) co_return drop(true);

  parts_.deadlines.set(*this, kConnectSeconds);
  const int fd = fd_.get();
  const auto& address = reinterpret_cast<const sockaddr&>(target->name);
  i32 error = -EAGAIN;
  while (error == -EAGAIN && attached_) {
    error = co_await parts_.io.connect(fd, address, sizeof(sockaddr_un));
    if (error == -EAGAIN) co_await parts_.io.sleep(kPause);  // more wait there already than may
  }
  parts_.deadlines.clear(*this);
  if (error != 0 || !attached_) co_return drop(true);
  accept_guest();
}

void VsockConnection::accept_guest() {
  state_ = State::kEstablished;
  parts_.outbox.say(*this, VIRTIO_VSOCK_OP_RESPONSE);
  sink_.open(fd_.get());
}

Task<> VsockConnection::take_client() {
  parts_.deadlines.set(*this, kLineSeconds);
  const std::optional<u32> port = co_await read_line();
  if (!port || dropped_) co_return drop(false);
  tuple_ = {.host_port = parts_.table.new_host_port(*port), .guest_port = *port, .type = tuple_.type};
  parts_.table.attach(tuple_, *this);
  attached_ = true;
  state_ = State::kRequested;
  parts_.deadlines.set(*this, kConnectSeconds);
  parts_.outbox.say(*this, VIRTIO_VSOCK_OP_REQUEST);
  while (state_ == State::kRequested && !dropped_) co_await wake_.wait();
  if (dropped_) co_return;

  const std::string text = connect_answer(tuple_.host_port);
  const std::span<const u8> answer(reinterpret_cast<const u8*>(text.data()), text.size());
  const int fd = fd_.get();
  const i32 sent = co_await parts_.io.send(fd, answer, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent != static_cast<i32>(text.size())) co_return drop(true);
  if (dropped_) co_return;
  sink_.open(fd);
  settle();  // the guest may have ended it before it was told
}

// The port that the program names. Nothing that follows its line is taken from the socket.
Task<std::optional<u32>> VsockConnection::read_line() {
  std::array<char, kMostConnectLineBytes> line;
  u64 length = 0;
  const int fd = fd_.get();
  iovec rest{};
  msghdr message{};
  message.msg_iov = &rest;
  message.msg_iovlen = 1;
  while (!dropped_ && length < line.size()) {
    const i32 ready = co_await parts_.io.poll(fd, POLLIN);
    if (ready < 0 || dropped_) break;
    rest = {line.data() + length, line.size() - length};
    const i32 seen = co_await parts_.io.recvmsg(fd, message, MSG_DONTWAIT | MSG_PEEK);
    if (seen == -EAGAIN || seen == -EINTR) continue;
    if (seen <= 0) break;
    const std::string_view found(line.data() + length, static_cast<u64>(seen));
    const u64 newline = found.find('\n');
    if (newline != found.npos) rest.iov_len = newline + 1;
    const i32 taken = co_await parts_.io.recvmsg(fd, message, MSG_DONTWAIT);
    if (taken <= 0) break;
    const std::string_view whole(line.data(), length + newline);
    if (newline != found.npos) co_return parse_connect_line(whole);
    length += static_cast<u64>(taken);
  }
  co_return std::nullopt;
}

// --- a stream

// What there is goes to the guest, then others have their turn.
Task<> VsockConnection::read_bytes() {
  const int fd = fd_.get();
  while (wants_to_read()) {
    if (credit_.guest_room() == 0) {
      // What it has read since it last said so, it need not tell by itself.
      if (!std::exchange(asked_for_credit_, true)) parts_.outbox.say(*this, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
      co_await wake_.wait();
      continue;
    }
    const i32 ready = co_await parts_.io.poll(fd, POLLIN | POLLRDHUP);
    if (ready < 0 && read_failed(ready)) co_return;
    if (!wants_to_read()) co_return;
    hung_up_ = ready > 0 && (ready & POLLHUP);
    parts_.outbox.ask_for_buffers(*this);
    while (!has_buffers() && wants_to_read()) co_await wake_.wait();
    if (!wants_to_read()) co_return;
    const i32 got = receive_bytes();
    if (got <= 0 && read_failed(got)) co_return;
    if (got == -ENOMEM || got == -ENOBUFS) co_await parts_.io.sleep(kPause);
  }
}

// Reads what there is into the lent buffers, which are the guest's or the outbox's again after that. At once,
// since it is there: the copy is bounded by the buffers, and a turn of the ring would cost more.
i32 VsockConnection::receive_bytes() {
  std::array<iovec, VsockOutbox::kMostBuffers> pieces;
  const u32 count = parts_.outbox.gather(*this, pieces, credit_.guest_room());
  const i32 got = count == 0 ? -EAGAIN : parts_.io.readv_now(fd_.get(), std::span(pieces).first(count));
  if (got > 0) {
    parts_.outbox.send(*this, static_cast<u64>(got));
  } else {
    parts_.outbox.take_back(*this);
  }
  return got;
}

// Whether `result` of reading, 0 or an error, is the end of it.
bool VsockConnection::read_failed(i32 result) {
  if (result == 0) {
    if (!hung_up_) say_shutdown(VIRTIO_VSOCK_SHUTDOWN_SEND);  // else both, soon
    return true;
  }
  if (result == -EAGAIN || result == -EINTR || result == -ENOMEM || result == -ENOBUFS) return false;
  drop(true);
  return true;
}

// --- records

// A record is received whole, because its length is not known before, and goes on in as many packets as it
// takes.
Task<> VsockConnection::read_records() {
  const int on = 1;
  // With each record then come its sender's credentials, with the end of all records none: a record may be
  // empty.
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  record_.reset(new u8[VsockCredit::kWindow]);
  const int fd = fd_.get();
  while (wants_to_read()) {
    const i32 ready = co_await parts_.io.poll(fd, POLLIN | POLLRDHUP);
    if (ready < 0 && read_failed(ready)) co_return;
    if (!wants_to_read()) co_return;
    hung_up_ = ready > 0 && (ready & POLLHUP);
    const i32 got = co_await receive_record();
    if (got >= 0) {
      const std::span<const u8> record(record_.get(), static_cast<u64>(got));
      co_await pass_on(record);
    } else {
      const i32 result = got == -ENODATA ? 0 : got;
      if (read_failed(result)) co_return;
      if (got == -ENOMEM || got == -ENOBUFS) co_await parts_.io.sleep(kPause);
    }
  }
}

// The next record's length; -ENODATA when none will follow, -EMSGSIZE for one that the guest could never
// take.
Task<i32> VsockConnection::receive_record() {
  alignas(cmsghdr) std::array<u8, CMSG_SPACE(sizeof(ucred))> control;
  iovec piece{record_.get(), VsockCredit::kWindow};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const int fd = fd_.get();
  const i32 got = co_await parts_.io.recvmsg(fd, message, MSG_DONTWAIT);
  if (got == 0 && message.msg_controllen == 0) co_return -ENODATA;
  const bool cut =
      got >= 0 && ((message.msg_flags & MSG_TRUNC) || static_cast<u32>(got) > credit_.guest_buffer());
  if (cut) {
    parts_.log.guest("vsock: a record for port {} is longer than the guest takes", tuple_.guest_port);
    co_return -EMSGSIZE;
  }
  co_return got;
}

Task<> VsockConnection::pass_on(std::span<const u8> record) {
  bool done = false;
  while (!done && wants_to_read()) {
    if (!record.empty() && credit_.guest_room() == 0) {
      if (!std::exchange(asked_for_credit_, true)) parts_.outbox.say(*this, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
      co_await wake_.wait();
      continue;
    }
    parts_.outbox.ask_for_buffers(*this);
    if (!has_buffers()) {
      co_await wake_.wait();
      continue;
    }
    record = record.subspan(parts_.outbox.send_copy(*this, record, VIRTIO_VSOCK_SEQ_EOM));
    done = record.empty();
  }
  parts_.outbox.take_back(*this);
}

}  // namespace uvmm
