// SPDX-License-Identifier: Apache-2.0
// Vsock on a host whose operations fail: each of them once, with each error, wherever in the life of two
// connections it comes.
#include <catch2/catch.hpp>
#include <string>

#include "tests/fakes/vsock_fixture.h"

namespace uvmm {
namespace {

using Fields = VsockFixture::Fields;

constexpr u32 kNever = 1000;

// A connection that the guest opens and one that a host program does, each with data in both directions and
// an end, on a host that does what it is asked but for one operation.
struct Lives {
  Lives(u32 number, i32 result) : fails(number), failure(result) {}

  void live() {
    f.send(VIRTIO_VSOCK_OP_REQUEST);
    end = f.client();
    for (int rounds = 0; rounds < 60; ++rounds) {
      while (const auto packet = f.packet()) answer(packet->header);
      if (!end_one()) f.pass_seconds(1);
    }
  }
  // What comes after it: nothing is left, and the next connection is like any other.
  void go_on() {
    for (int i = 0; i < 3; ++i) {
      for (int k = 0; k < 4; ++k) f.next_read(-ECONNRESET);
      for (const u32 port : {guests.host_port, hosts.host_port})
        f.send(VIRTIO_VSOCK_OP_RST, {.host_port = port});
      for (int steps = 0; steps < 20 && end_one(); ++steps) continue;
      f.pass_seconds(VsockConnection::kDeliverSeconds + 1);
    }
    CHECK(f.device.connections() == 0);
    f.io.found_now.clear();
    f.skip_packets();
    f.connect({.guest_port = 77});
    f.send(VIRTIO_VSOCK_OP_RW, {.guest_port = 77}, "next");
    CHECK(f.sending() == "next");
    f.finish(Op::Kind::kSendmsg, 4);
  }

  VsockFixture f{60};
  Fields guests, hosts;
  Fd end;
  u32 ended = 0;
  const u32 fails;
  const i32 failure;

 private:
  void answer(const virtio_vsock_hdr& header) {
    Fields fields{.host_port = header.src_port, .guest_port = header.dst_port};
    if (header.op == VIRTIO_VSOCK_OP_REQUEST) {
      hosts = fields;
      f.send(VIRTIO_VSOCK_OP_RESPONSE, fields);
    }
    if (header.op == VIRTIO_VSOCK_OP_REQUEST || header.op == VIRTIO_VSOCK_OP_RESPONSE) {
      f.next_read("from the host");
      f.send(VIRTIO_VSOCK_OP_RW, fields, "from the guest");
    }
    if (header.op == VIRTIO_VSOCK_OP_RW) {
      fields.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
      f.send(VIRTIO_VSOCK_OP_SHUTDOWN, fields);
    }
    if (header.op == VIRTIO_VSOCK_OP_SHUTDOWN && header.flags == kVsockShutdownBoth)
      f.send(VIRTIO_VSOCK_OP_RST, fields);
  }

  // The oldest operation that the host is to do now ends; false if there is none.
  bool end_one() {
    f.io.finish_cancelled();
    u32 i = 0;
    while (i < f.io.size() && is_for_later(f.io.pending(i))) ++i;
    if (i == f.io.size()) return false;
    if (ended++ == fails) return f.io.finish(i, failure), true;
    switch (f.io.pending(i).kind) {
      case Op::Kind::kRecvmsg:
        return f.answer_read("CONNECT 1024\n"), true;
      case Op::Kind::kSend:
      case Op::Kind::kSendmsg:
        return f.io.finish(i, static_cast<i32>(f.io.length_of(i))), true;
      case Op::Kind::kPoll:
        return f.io.finish(i, POLLIN | POLLOUT), true;
      default:
        return f.io.finish(i, 0), true;
    }
  }
  static bool is_for_later(const Op& op) {
    return op.kind == Op::Kind::kAccept || op.kind == Op::Kind::kPollMultishot ||
           op.kind == Op::Kind::kTimeout;
  }
};

TEST_CASE("vsock faults: without one, both connections get what is sent") {
  Lives lives(kNever, 0);
  lives.live();
  CHECK(lives.ended > 10);
  CHECK(lives.f.io.found_now.empty());
  lives.go_on();
}

TEST_CASE("vsock faults: an operation that fails ends no other connection, and leaves nothing behind") {
  const i32 error = GENERATE(EIO, EPIPE, ECONNRESET, ECONNREFUSED, EACCES, EAGAIN, EINTR, ENOMEM, ENOBUFS,
                             EMFILE, EBADF, ETIMEDOUT);
  for (u32 number = 0; number < 14; ++number) {
    CAPTURE(number, error);
    Lives lives(number, -error);
    lives.live();
    lives.go_on();
  }
}

TEST_CASE("vsock faults: a socket that takes or gives less than it could loses nothing") {
  for (u32 number = 0; number < 14; ++number) {
    CAPTURE(number);
    Lives lives(number, 1);
    lives.live();
    lives.go_on();
  }
}

TEST_CASE("vsock faults: a host that answers late answers a connection that has gone") {
  VsockFixture f;
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  f.send(VIRTIO_VSOCK_OP_RST);
  CHECK(f.device.connections() == 1);  // as long as the host has not answered
  f.finish(Op::Kind::kConnect, 0);
  CHECK(f.device.connections() == 0);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);

  f.connect();
  f.send(VIRTIO_VSOCK_OP_RW, {}, "late");
  f.send(VIRTIO_VSOCK_OP_RST);
  f.finish(Op::Kind::kSendmsg, 4);
  f.hang_up();
  CHECK(f.device.connections() == 0);
}

TEST_CASE("vsock faults: reading fails, and the guest hears of it") {
  const i32 error = GENERATE(EIO, ECONNRESET, EBADF, ENOTCONN);
  VsockFixture f;
  f.connect();
  f.next_read(-error);
  f.finish(Op::Kind::kPoll, POLLIN);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(f.device.connections() == 0);
}

}  // namespace
}  // namespace uvmm
