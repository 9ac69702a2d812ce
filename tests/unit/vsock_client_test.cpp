// SPDX-License-Identifier: Apache-2.0
// Connections that a program of the host begins: its line, the answer, and what becomes of one that is slow.
#include "devices/vsock_connection.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/fakes/vsock_fixture.h"

namespace uvmm {
namespace {

using Fields = VsockFixture::Fields;

TEST_CASE("vsock connection: a host program connects to the guest and reads OK before anything else") {
  VsockFixture f;
  const Fd end = f.client();
  f.say_line("CONNECT 1024\n");
  const auto request = f.packet();
  REQUIRE(request);
  CHECK(request->header.op == VIRTIO_VSOCK_OP_REQUEST);
  CHECK(request->header.dst_port == 1024);
  const Fields fields{.host_port = request->header.src_port};
  f.send(VIRTIO_VSOCK_OP_RESPONSE, fields);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "SSH-2.0");
  CHECK_FALSE(f.waits_for(Op::Kind::kSendmsg));
  const auto answer = f.io.bytes_of(f.find(Op::Kind::kSend));
  CHECK(std::string(answer.begin(), answer.end()) == fmt::format("OK {}\n", fields.host_port));
  f.finish(Op::Kind::kSend, static_cast<i32>(answer.size()));
  CHECK(f.take_all() == "SSH-2.0");
}

TEST_CASE(
    "[case 130] vsock connection: a guest that ends what it has just accepted: OK comes before the end") {
  VsockFixture f;
  const Fd end = f.client();
  f.say_line("CONNECT 1024\n");
  Fields fields{.host_port = f.packet()->header.src_port};
  f.offer(VIRTIO_VSOCK_OP_RESPONSE, fields, {});
  u16 last = VIRTIO_VSOCK_OP_INVALID;
  SECTION("sending") {
    fields.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
    f.offer(VIRTIO_VSOCK_OP_SHUTDOWN, fields, {});
  }
  SECTION("both directions") {
    fields.flags = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
    f.offer(VIRTIO_VSOCK_OP_SHUTDOWN, fields, {});
    last = VIRTIO_VSOCK_OP_RST;
  }
  SECTION("both directions, without waiting for the answer") {
    fields.flags = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
    f.offer(VIRTIO_VSOCK_OP_SHUTDOWN, fields, {});
    f.offer(VIRTIO_VSOCK_OP_RST, fields, {});
  }
  f.kick();
  REQUIRE_FALSE(at_end(end));
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  f.finish(Op::Kind::kSend, static_cast<i32>(f.io.bytes_of(f.find(Op::Kind::kSend)).size()));
  CHECK(at_end(end));
  CHECK(f.op() == last);
}

TEST_CASE("vsock connection: a guest that refuses, or does not answer, closes the host program's socket") {
  VsockFixture f;
  const Fd end = f.client();
  f.say_line("CONNECT 1024\n");
  const Fields fields{.host_port = f.packet()->header.src_port};
  SECTION("refuses") {
    f.send(VIRTIO_VSOCK_OP_RST, fields);
  }
  SECTION("does not answer") {
    f.pass_seconds(VsockConnection::kConnectSeconds + 1);
    CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  }
  CHECK(at_end(end));
  CHECK(f.device.connections() == 0);
}

TEST_CASE("[case 132] vsock connection: a line that names no port closes the socket") {
  const char* const line = GENERATE("CONNECT -1\n", "CONNECT 99999999999\n", "GET / HTTP/1.1\n", "\n");
  VsockFixture f;
  const Fd end = f.client();
  f.say_line(line);
  CHECK(at_end(end));
  CHECK(f.device.connections() == 0);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
}

TEST_CASE("[case 132] vsock connection: a program that names no port is waited for ten seconds") {
  VsockFixture f;
  const Fd end = f.client();
  f.pass_seconds(VsockConnection::kLineSeconds);
  CHECK_FALSE(at_end(end));
  f.pass_seconds(1);
  CHECK(at_end(end));
  f.hang_up();
  CHECK(f.device.connections() == 0);
}

TEST_CASE("[case 132] vsock connection: of bytes without end 64 are read") {
  VsockFixture f;
  const Fd end = f.client();
  f.say_line(std::string(60, 'C'));
  f.finish(Op::Kind::kPoll, POLLIN);
  CHECK(f.io.length_of(f.find(Op::Kind::kRecvmsg)) == 4);
  f.answer_read("CCCC");
  f.answer_read("CCCC");
  CHECK(at_end(end));
}

TEST_CASE("vsock connection: the line may come in pieces, and what follows it is the guest's") {
  VsockFixture f;
  const Fd end = f.client();
  f.say_line("CONN");
  f.finish(Op::Kind::kPoll, POLLIN);
  f.answer_read("ECT 1024\nhello");
  CHECK(f.io.length_of(f.find(Op::Kind::kRecvmsg)) == 9);
  f.answer_read("ECT 1024\n");
  CHECK(f.op() == VIRTIO_VSOCK_OP_REQUEST);
}

TEST_CASE("vsock connection: a program that has gone before OK is a reset for the guest") {
  VsockFixture f;
  const Fd end = f.client();
  f.say_line("CONNECT 1024\n");
  f.send(VIRTIO_VSOCK_OP_RESPONSE, {.host_port = f.packet()->header.src_port});
  f.finish(Op::Kind::kSend, -EPIPE);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(f.device.connections() == 0);
}

}  // namespace
}  // namespace uvmm
