// SPDX-License-Identifier: Apache-2.0
// VsockFixture: a vsock device between a guest that is the test and a host whose every answer is. Sockets are
// real, so that what is shut down and closed can be seen from their other ends; what is read and written is
// not.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/virtio/spec.h"
#include "devices/vsock.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {

struct VsockDirectory {
  VsockDirectory() {
    char name[] = "/tmp/uvmm-vsock-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~VsockDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

// A socket, at which nobody listens.
inline void make_socket(const std::string& path) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
}

// What a test says of a packet from the guest.
struct VsockFields {
  u32 host_port = 52;
  u32 guest_port = 1024;
  u64 src_cid = 5;
  u64 dst_cid = VMADDR_CID_HOST;
  u16 type = VIRTIO_VSOCK_TYPE_STREAM;
  u32 flags = 0;
  std::optional<u32> len;
  u32 buf_alloc = 256_KiB;
  u32 fwd_cnt = 0;
};

struct VsockFixture {
  static constexpr u32 kCid = 5;
  static constexpr u32 kEmbeddedPort = 700;
  static constexpr u32 kGuestPort = 1024;
  static constexpr u32 kBufferBytes = 4096 + sizeof(virtio_vsock_hdr);

  struct Packet {
    virtio_vsock_hdr header{};
    std::string data;
  };
  using Fields = VsockFields;

  explicit VsockFixture(u32 buffers = 32, u64 features = feature(VIRTIO_VSOCK_F_SEQPACKET)) {
    make_socket(directory.path + "/s_52");
    device.start(features);
    tasks.spawn(device.run(rx.queue, Vsock::kReceiveQueue));
    tasks.spawn(device.run(tx.queue, Vsock::kTransmitQueue));
    post(buffers);
  }
  ~VsockFixture() {
    reset();
    CHECK(device.connections() == 0);
    CHECK(rx.queue.chains_out() == 0);
    CHECK(tx.queue.chains_out() == 0);
  }

  void reset() {
    rx.queue.stop();
    tx.queue.stop();
    device.io().cancel_all();
    device.stop();
    io.end_turn();
    while (!io.empty()) {
      io.finish_cancelled();
      io.finish_all(-ECANCELED);
    }
    CHECK(tasks.empty());
  }

  // --- the guest
  void post(u32 buffers, u32 bytes = kBufferBytes) {
    for (u32 i = 0; i < buffers; ++i) receiver.chain().writes(bytes).offer();
    rx.queue.notify();
    io.end_turn();
  }
  // The same buffer as the time before, for tests that need more than there is memory for.
  void post_again(u32 bytes) {
    if (!again_) again_ = ram.allocate(kBufferBytes);
    receiver.chain().writes_at(address(*again_), bytes).offer();
    rx.queue.notify();
    io.end_turn();
  }
  virtio_vsock_hdr header(u16 op, const Fields& fields, u64 bytes) const {
    return {.src_cid = fields.src_cid,
            .dst_cid = fields.dst_cid,
            .src_port = fields.guest_port,
            .dst_port = fields.host_port,
            .len = fields.len.value_or(static_cast<u32>(bytes)),
            .type = fields.type,
            .op = op,
            .flags = fields.flags,
            .buf_alloc = fields.buf_alloc,
            .fwd_cnt = fields.fwd_cnt};
  }
  void send(u16 op, const Fields& fields, std::string_view data = {}) {
    offer(op, fields, data);
    kick();
  }
  void send(u16 op) { send(op, Fields{}); }
  void offer(u16 op, const Fields& fields, std::string_view data) {
    while (transmitter.take_used()) continue;
    auto chain = transmitter.chain();
    chain.reads(header(op, fields, data.size()));
    if (!data.empty()) chain.reads(std::span(reinterpret_cast<const u8*>(data.data()), data.size()));
    chain.offer();
  }
  void kick() {
    tx.queue.notify();
    io.end_turn();
    let_interrupt();
  }
  // The time passes until the guest is interrupted for what it has transmitted.
  void let_interrupt() {
    for (u32 i = 0; i < io.size(); ++i)
      if (is_interrupt_delay(io.pending(i))) return io.finish(i, -ETIME);
  }
  // The same bytes again and again, without using up memory.
  void send_bulk(u32 bytes, const Fields& fields = {}) {
    while (transmitter.take_used()) continue;
    transmitter.chain()
        .reads(header(VIRTIO_VSOCK_OP_RW, fields, bytes))
        .reads_at(FakeRam::kBoundary, bytes)
        .offer();
    kick();
  }
  // The next packet that the guest has got.
  std::optional<Packet> packet() {
    const auto used = receiver.take_used();
    if (!used) return std::nullopt;
    const vring_desc& buffer = receiver.descriptor(static_cast<u16>(used->id));
    REQUIRE(used->len >= sizeof(virtio_vsock_hdr));
    Packet packet{.header = receiver.field<virtio_vsock_hdr>(guest(buffer.addr)), .data = {}};
    const auto bytes =
        receiver.bytes(guest(buffer.addr) + sizeof packet.header, used->len - sizeof packet.header);
    packet.data.assign(bytes.begin(), bytes.end());
    CHECK(packet.header.len == packet.data.size());
    CHECK(packet.header.src_cid == VMADDR_CID_HOST);
    CHECK(packet.header.dst_cid == kCid);
    return packet;
  }
  // Its operation; VIRTIO_VSOCK_OP_INVALID if there is none.
  u16 op() {
    const auto next = packet();
    return next ? next->header.op : u16{VIRTIO_VSOCK_OP_INVALID};
  }
  void skip_packets() {
    while (packet()) continue;
  }

  // --- the host
  static bool is_interrupt_delay(const Op& op) {
    return op.kind == Op::Kind::kTimeout && op.length == Vsock::kInterruptDelay;
  }
  // The oldest operation of that kind, but for the one that only passes the time; or io.size().
  u32 find(Op::Kind kind) const {
    u32 i = 0;
    while (i < io.size() && (io.pending(i).kind != kind || is_interrupt_delay(io.pending(i)))) ++i;
    return i;
  }
  bool waits_for(Op::Kind kind) const { return find(kind) < io.size(); }
  void finish(Op::Kind kind, i32 result) { io.finish(find(kind), result); }
  // Of a line, or a record.
  void answer_read(std::string_view data) {
    io.finish_read(find(Op::Kind::kRecvmsg), {reinterpret_cast<const u8*>(data.data()), data.size()});
  }
  // What the next read of a stream finds.
  void next_read(std::string_view data) { io.found_now.push_back({.bytes = {data.begin(), data.end()}}); }
  void next_read(i32 error) { io.found_now.push_back({.bytes = {}, .error = error}); }
  // The host's program writes `data`.
  void host_says(std::string_view data) {
    next_read(data);
    finish(Op::Kind::kPoll, POLLIN);
    if (!waits_for(Op::Kind::kRecvmsg)) return;
    answer_read(data);  // a record
    io.found_now.pop_back();
  }
  // The end of what it sends, with what its socket tells of it.
  void host_ends(i32 events) {
    next_read("");
    finish(Op::Kind::kPoll, events);
  }
  std::string sending() const {
    const auto bytes = io.bytes_of(find(Op::Kind::kSendmsg));
    return {bytes.begin(), bytes.end()};
  }
  // The socket takes all that is offered; what that was.
  std::string take_all() {
    std::string all;
    while (waits_for(Op::Kind::kSendmsg)) {
      all += sending();
      finish(Op::Kind::kSendmsg, static_cast<i32>(sending().size()));
    }
    return all;
  }
  // A socket's end, as all who wait for something of it see it.
  void hang_up() {
    while (waits_for(Op::Kind::kPoll)) finish(Op::Kind::kPoll, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    if (waits_for(Op::Kind::kPollMultishot)) io.fire(find(Op::Kind::kPollMultishot), POLLHUP);
    io.finish_cancelled();
  }
  void pass_seconds(u32 seconds) {
    for (u32 i = 0; i < seconds && waits_for(Op::Kind::kTimeout); ++i) finish(Op::Kind::kTimeout, -ETIME);
  }

  // The guest connects to the host's port, 52, where there is a socket, and the program there accepts.
  void connect(const Fields& fields = {}) {
    send(VIRTIO_VSOCK_OP_REQUEST, fields);
    finish(Op::Kind::kConnect, 0);
    pass_seconds(1);
    REQUIRE(op() == VIRTIO_VSOCK_OP_RESPONSE);
  }

  // A host program connects at `path`; the test has the other end of its socket.
  Fd client(u16 type = VIRTIO_VSOCK_TYPE_STREAM) {
    int ends[2];
    const int kind = type == VIRTIO_VSOCK_TYPE_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    REQUIRE(::socketpair(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    const int listener = type == VIRTIO_VSOCK_TYPE_STREAM ? host->stream_listener() : host->record_listener();
    for (u32 i = 0; i < io.size(); ++i) {
      if (io.pending(i).kind != Op::Kind::kAccept || io.pending(i).fd != listener) continue;
      io.finish(i, ends[0]);
      break;
    }
    return Fd(ends[1]);
  }
  void say_line(std::string_view line) {
    finish(Op::Kind::kPoll, POLLIN);
    answer_read(line);
    const u64 newline = line.find('\n');
    answer_read(line.substr(0, newline == line.npos ? newline : newline + 1));
  }
  // The same with "CONNECT" to the guest's port, which the guest accepts. `fields` then are the connection's.
  Fd open(Fields& fields) {
    Fd end = client(fields.type);
    say_line(fmt::format("CONNECT {}\n", fields.guest_port));
    const auto request = packet();
    REQUIRE(request);
    REQUIRE(request->header.op == VIRTIO_VSOCK_OP_REQUEST);
    CHECK(request->header.dst_port == fields.guest_port);
    fields.host_port = request->header.src_port;
    send(VIRTIO_VSOCK_OP_RESPONSE, fields);
    const auto answer = io.bytes_of(find(Op::Kind::kSend));
    finish(Op::Kind::kSend, static_cast<i32>(answer.size()));
    pass_seconds(1);
    return end;
  }

  VsockDirectory directory;
  Log log;
  FakeIo io;
  std::vector<Fd> embedded;  // connections to kEmbeddedPort, which the test serves
  std::unique_ptr<VsockHost> host =
      *VsockHost::open(directory.path + "/s",
                       {{.port = kEmbeddedPort, .connected = [this](int fd) { embedded.emplace_back(fd); }}});
  Vsock device{io, *host, kCid, log};
  FakeRam ram;
  FakeDriver receiver{ram, 64};
  FakeDriver transmitter{ram, 64};
  FakeQueue rx{device.io(), receiver};
  FakeQueue tx{device.io(), transmitter};
  TaskScope tasks;

 private:
  std::optional<GuestAddress> again_;
};

// Whether the device has closed its end of a socket, or at least will send no more.
inline bool at_end(const Fd& end) {
  char byte;
  return ::recv(end.get(), &byte, 1, MSG_DONTWAIT) == 0;
}

}  // namespace uvmm
