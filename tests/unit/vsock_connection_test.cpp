// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_connection.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fakes/vsock_fixture.h"

namespace uvmm {
namespace {

using Fields = VsockFixture::Fields;

constexpr u32 kReceive = VIRTIO_VSOCK_SHUTDOWN_RCV;
constexpr u32 kSend = VIRTIO_VSOCK_SHUTDOWN_SEND;

// --- the guest connects

TEST_CASE("vsock connection: the guest connects to a program of the host") {
  VsockFixture f;
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  const Op& connect = f.io.pending(f.find(Op::Kind::kConnect));
  const std::string name = static_cast<const sockaddr_un*>(connect.address)->sun_path;
  CHECK(name.starts_with("/proc/self/fd/"));
  CHECK(std::filesystem::read_symlink(name) == f.directory.path + "/s_52");
  f.finish(Op::Kind::kConnect, 0);
  const auto response = f.packet();
  REQUIRE(response);
  CHECK(response->header.op == VIRTIO_VSOCK_OP_RESPONSE);
  CHECK(response->header.src_port == 52);
  CHECK(response->header.dst_port == VsockFixture::kGuestPort);
  CHECK(response->header.type == VIRTIO_VSOCK_TYPE_STREAM);
  CHECK(response->header.buf_alloc == VsockCredit::kWindow);
  CHECK_FALSE(std::filesystem::exists(name));  // what held the socket is closed again
}

TEST_CASE("[case 125] vsock connection: without a program that listens, the answer is a reset at once") {
  const i32 error = GENERATE(-ENOENT, -ECONNREFUSED, -EACCES, -EPROTOTYPE, -EIO);
  VsockFixture f;
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  f.finish(Op::Kind::kConnect, error);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(f.device.connections() == 0);
}

TEST_CASE("[case 125] vsock connection: without a socket nothing is connected to") {
  VsockFixture f;
  const std::string path = f.directory.path + "/s_52";
  std::filesystem::remove(path);
  SECTION("no file") {}
  SECTION("a file") {
    std::ofstream(path) << "";
  }
  SECTION("a directory") {
    std::filesystem::create_directory(path);
  }
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK_FALSE(f.waits_for(Op::Kind::kConnect));
  CHECK(f.device.connections() == 0);
}

TEST_CASE("[case 125] vsock connection: a symbolic link is nothing that listens") {
  VsockFixture f;
  const std::string path = f.directory.path + "/s_52";
  std::filesystem::rename(path, f.directory.path + "/other");
  std::filesystem::create_symlink("other", path);
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK_FALSE(f.waits_for(Op::Kind::kConnect));
}

TEST_CASE("vsock connection: a port that the embedding program serves is connected at once") {
  const u16 type = GENERATE(u16{VIRTIO_VSOCK_TYPE_STREAM}, u16{VIRTIO_VSOCK_TYPE_SEQPACKET});
  VsockFixture f;
  const Fields fields{.host_port = VsockFixture::kEmbeddedPort, .type = type};
  f.send(VIRTIO_VSOCK_OP_REQUEST, fields);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RESPONSE);
  REQUIRE(f.embedded.size() == 1);
  int kind = 0;
  socklen_t bytes = sizeof kind;
  REQUIRE(::getsockopt(f.embedded[0].get(), SOL_SOCKET, SO_TYPE, &kind, &bytes) == 0);
  CHECK(kind == (type == VIRTIO_VSOCK_TYPE_STREAM ? SOCK_STREAM : SOCK_SEQPACKET));
  Fields data = fields;
  if (type == VIRTIO_VSOCK_TYPE_SEQPACKET) data.flags = VIRTIO_VSOCK_SEQ_EOM;
  f.send(VIRTIO_VSOCK_OP_RW, data, "hello");
  CHECK(f.take_all() == "hello");
}

TEST_CASE("vsock connection: a program whose queue is full is asked again, for two seconds") {
  VsockFixture f;
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  for (int i = 0; i < 3; ++i) {
    f.finish(Op::Kind::kConnect, -EAGAIN);
    f.finish(Op::Kind::kTimeout, -ETIME);  // its second
    if (f.waits_for(Op::Kind::kTimeout) && !f.waits_for(Op::Kind::kConnect))
      f.finish(Op::Kind::kTimeout, -ETIME);
  }
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  f.pass_seconds(5);
  CHECK_FALSE(f.waits_for(Op::Kind::kConnect));
  CHECK(f.device.connections() == 0);
}

// --- guest to host

TEST_CASE("vsock connection: what the guest sends goes from its buffers to the socket") {
  VsockFixture f;
  f.connect();
  f.send(VIRTIO_VSOCK_OP_RW, {}, "hello");
  CHECK(f.sending() == "hello");
  CHECK_FALSE(f.transmitter.take_used());  // its buffer is in use
  f.finish(Op::Kind::kSendmsg, 5);
  CHECK(f.transmitter.take_used()->len == 0);
}

TEST_CASE("vsock connection: what comes in one turn is one system call") {
  VsockFixture f;
  f.connect();
  f.offer(VIRTIO_VSOCK_OP_RW, {}, "one ");
  f.offer(VIRTIO_VSOCK_OP_RW, {}, "two ");
  f.offer(VIRTIO_VSOCK_OP_RW, {}, "three");
  f.kick();
  CHECK(f.take_all() == "one two three");
  CHECK(f.transmitter.used_index() == 4);
}

TEST_CASE("vsock connection: a slow reader holds up no buffer of the guest, and keeps its order") {
  VsockFixture f;
  f.connect();
  f.offer(VIRTIO_VSOCK_OP_RW, {}, "abc");
  f.offer(VIRTIO_VSOCK_OP_RW, {}, "def");
  f.kick();
  f.finish(Op::Kind::kSendmsg, 2);
  CHECK(f.transmitter.used_index() == 3);
  f.send(VIRTIO_VSOCK_OP_RW, {}, "ghi");
  CHECK(f.transmitter.used_index() == 4);
  CHECK_FALSE(f.waits_for(Op::Kind::kSendmsg));
  for (u32 i = 0; i < f.io.size(); ++i)
    if (f.io.pending(i).kind == Op::Kind::kPoll && f.io.pending(i).flags == POLLOUT) f.io.finish(i, POLLOUT);
  CHECK(f.take_all() == "cdefghi");
}

TEST_CASE("vsock connection: the guest hears of its credit at half the window") {
  VsockFixture f;
  f.connect();
  f.send_bulk(64_KiB);
  f.take_all();
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  f.send_bulk(64_KiB);
  f.take_all();
  const auto update = f.packet();
  REQUIRE(update);
  CHECK(update->header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
  CHECK(update->header.fwd_cnt == 128_KiB);
}

TEST_CASE("vsock connection: a request for credit is answered") {
  VsockFixture f;
  f.connect();
  f.send_bulk(10);
  f.take_all();
  f.send(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
  const auto update = f.packet();
  REQUIRE(update);
  CHECK(update->header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
  CHECK(update->header.fwd_cnt == 10);
}

TEST_CASE("[case 129] vsock connection: more than the credit is a reset, and no more is kept than that") {
  VsockFixture f;
  f.connect();
  f.send_bulk(256_KiB);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  f.send_bulk(1);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  f.finish(Op::Kind::kSendmsg, 100);
  f.hang_up();
  CHECK(f.device.connections() == 0);
}

TEST_CASE("[case 131] vsock connection: a program that has gone lets the guest read on, and no more write") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "unwanted");
  f.finish(Op::Kind::kSendmsg, -EPIPE);
  const auto shutdown = f.packet();
  REQUIRE(shutdown);
  CHECK(shutdown->header.op == VIRTIO_VSOCK_OP_SHUTDOWN);
  CHECK(shutdown->header.flags == kReceive);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "on its way");  // is dropped, and its credit given back
  CHECK_FALSE(f.waits_for(Op::Kind::kSendmsg));
  f.host_says("last words");
  CHECK(f.packet()->data == "last words");
}

TEST_CASE("[case 131] vsock connection: a program that went with data unread is a reset for the guest") {
  VsockFixture f;
  f.connect();
  f.next_read(-ECONNRESET);
  f.finish(Op::Kind::kPoll, POLLIN | POLLHUP);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(f.device.connections() == 0);
}

TEST_CASE("vsock connection: other failures of the socket are a reset, want of memory is none") {
  VsockFixture f;
  f.connect();
  f.send(VIRTIO_VSOCK_OP_RW, {}, "data");
  f.finish(Op::Kind::kSendmsg, -ENOBUFS);
  f.finish(Op::Kind::kTimeout, -ETIME);
  CHECK(f.sending() == "data");
  f.finish(Op::Kind::kSendmsg, -EIO);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  f.hang_up();
  CHECK(f.device.connections() == 0);
}

// --- host to guest

TEST_CASE("vsock connection: what the host writes is read into the guest's buffers") {
  VsockFixture f;
  f.connect();
  f.host_says(std::string(5000, 'h'));
  CHECK(f.io.room_now == 31 * 4096);  // all that are left
  CHECK(f.packet()->data == std::string(4096, 'h'));
  const auto second = f.packet();
  CHECK(second->data == std::string(904, 'h'));
  CHECK(second->header.op == VIRTIO_VSOCK_OP_RW);
  CHECK_FALSE(f.packet());
  CHECK(f.waits_for(Op::Kind::kPoll));  // there was no more
}

TEST_CASE("vsock connection: no more is read than the guest has room for") {
  VsockFixture f;
  f.connect({.buf_alloc = 100});
  f.host_says(std::string(100, 'h'));
  CHECK(f.io.room_now == 100);
  CHECK(f.packet()->data.size() == 100);
  CHECK(f.op() == VIRTIO_VSOCK_OP_CREDIT_REQUEST);
  CHECK_FALSE(f.waits_for(Op::Kind::kPoll));
  f.send(VIRTIO_VSOCK_OP_CREDIT_UPDATE, {.buf_alloc = 100, .fwd_cnt = 30});
  f.finish(Op::Kind::kPoll, POLLIN);
  CHECK(f.io.room_now == 30);
}

TEST_CASE("[case 127] vsock connection: a guest that promises much room and never reads makes nothing grow") {
  VsockFixture f(8);
  f.connect({.buf_alloc = 0xffffffff});
  f.host_says(std::string(7 * 4096, 'h'));
  CHECK(f.io.room_now == 7 * 4096);
  f.next_read("more");
  f.finish(Op::Kind::kPoll, POLLIN);
  CHECK(f.io.found_now.size() == 1);  // is left in the socket
  CHECK_FALSE(f.waits_for(Op::Kind::kPoll));
  f.io.found_now.clear();
}

TEST_CASE("[case 128] vsock connection: credit that makes no sense is none") {
  VsockFixture f;
  f.connect({.buf_alloc = 1000});
  f.host_says(std::string(500, 'h'));
  const Fields nonsense = GENERATE(Fields{.buf_alloc = 400, .fwd_cnt = 0},              // shrinks
                                   Fields{.buf_alloc = 1000, .fwd_cnt = u32(0) - 501},  // goes back
                                   Fields{.buf_alloc = 1000, .fwd_cnt = 501},           // jumps
                                   Fields{.buf_alloc = 0, .fwd_cnt = 500});
  f.send(VIRTIO_VSOCK_OP_CREDIT_UPDATE, nonsense);
  f.finish(Op::Kind::kPoll, POLLIN);
  f.io.room_now = 0;
  f.send(VIRTIO_VSOCK_OP_CREDIT_UPDATE, {.buf_alloc = 1000, .fwd_cnt = 500});
  f.finish(Op::Kind::kPoll, POLLIN);
  CHECK(f.io.room_now == 1000);
}

TEST_CASE("vsock connection: an interrupted or short-lived failure of reading is passed over") {
  const i32 error = GENERATE(-EAGAIN, -EINTR, -ENOBUFS);
  VsockFixture f;
  f.connect();
  f.next_read(error);
  f.finish(Op::Kind::kPoll, POLLIN);
  if (error == -ENOBUFS) f.finish(Op::Kind::kTimeout, -ETIME);
  f.host_says("data");
  CHECK(f.packet()->data == "data");
}

// --- ends

TEST_CASE("[case 130] vsock connection: a guest that stops sending still receives") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "question");
  fields.flags = kSend;
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, fields);
  CHECK_FALSE(at_end(end));  // not before all is out
  CHECK(f.take_all() == "question");
  CHECK(at_end(end));
  f.host_says("answer");
  CHECK(f.packet()->data == "answer");
  f.send(VIRTIO_VSOCK_OP_RW, fields, "more");  // against its word
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
}

TEST_CASE("[case 130] vsock connection: a guest that stops receiving still sends") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  fields.flags = kReceive;
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, fields);
  CHECK(::send(end.get(), "x", 1, MSG_NOSIGNAL) < 0);
  CHECK(errno == EPIPE);
  f.next_read("too late");
  f.finish(Op::Kind::kPoll, POLLIN | POLLRDHUP);  // as it follows from the socket's end
  CHECK(f.io.found_now.size() == 1);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "data");
  CHECK(f.take_all() == "data");
  CHECK(f.device.connections() == 1);
}

TEST_CASE("[case 130] vsock connection: a guest that closes is answered when all it sent is out") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "last words");
  fields.flags = kReceive | kSend | 0xfc;
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, fields);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  CHECK(f.take_all() == "last words");
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(at_end(end));
  f.hang_up();
  CHECK(f.device.connections() == 0);
}

TEST_CASE("[case 130] vsock connection: a shutdown of nothing changes nothing") {
  VsockFixture f;
  f.connect();
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, {.flags = 0});
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, {.flags = 0xfc});
  f.host_says("data");
  CHECK(f.packet()->data == "data");
}

TEST_CASE("[case 130] vsock connection: a shutdown before the connection is there is a reset") {
  const u32 flags = GENERATE(1u, 2u, 3u, 0xffu);
  VsockFixture f;
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, {.flags = flags});
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  f.finish(Op::Kind::kConnect, 0);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  CHECK(f.device.connections() == 0);
}

TEST_CASE(
    "vsock connection: a guest that closes and waits in vain is answered; what it sent is still delivered") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "for a slow reader");
  f.finish(Op::Kind::kSendmsg, -EAGAIN);
  fields.flags = kReceive | kSend;
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, fields);
  SECTION("by the device's timeout") {
    f.pass_seconds(VsockConnection::kCloseSeconds + 1);
    CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  }
  SECTION("by its own") {
    f.send(VIRTIO_VSOCK_OP_RST, fields);
  }
  CHECK(f.device.connections() == 1);
  while (f.waits_for(Op::Kind::kPoll)) f.finish(Op::Kind::kPoll, POLLOUT);
  CHECK(f.take_all() == "for a slow reader");
  f.hang_up();
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  CHECK(f.device.connections() == 0);
}

TEST_CASE("vsock connection: what a guest has left behind and nobody reads goes after five minutes") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "for nobody");
  f.finish(Op::Kind::kSendmsg, -EAGAIN);
  fields.flags = kReceive | kSend;
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, fields);
  f.send(VIRTIO_VSOCK_OP_RST, fields);
  f.pass_seconds(VsockConnection::kDeliverSeconds);
  CHECK_FALSE(at_end(end));
  f.pass_seconds(1);
  CHECK(at_end(end));
}

TEST_CASE("vsock connection: a reset by the guest ends all at once") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  f.send(VIRTIO_VSOCK_OP_RW, fields, "lost");
  f.finish(Op::Kind::kSendmsg, -EAGAIN);
  f.send(VIRTIO_VSOCK_OP_RST, fields);
  CHECK(at_end(end));
  f.hang_up();
  CHECK(f.device.connections() == 0);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
}

TEST_CASE("vsock connection: one that is reset while it waits for the host asks for no buffers afterwards") {
  VsockFixture f(1);
  f.connect();
  f.send(VIRTIO_VSOCK_OP_RST);
  f.finish(Op::Kind::kPoll, POLLIN | POLLHUP);
  CHECK(f.device.connections() == 0);
  f.post(1);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
}

TEST_CASE("vsock connection: a guest that stops receiving gets no buffers that another could use") {
  VsockFixture f(1);
  f.connect();
  f.finish(Op::Kind::kPoll, POLLIN);  // waits for buffers
  f.send(VIRTIO_VSOCK_OP_SHUTDOWN, {.flags = kReceive});
  f.post(1);
  f.send(VIRTIO_VSOCK_OP_RW, {.host_port = 9}, "to nobody");
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
}

TEST_CASE("vsock connection: a host program that stops sending still receives") {
  VsockFixture f;
  f.connect();
  f.host_ends(POLLIN | POLLRDHUP);
  const auto shutdown = f.packet();
  CHECK(shutdown->header.op == VIRTIO_VSOCK_OP_SHUTDOWN);
  CHECK(shutdown->header.flags == kSend);
  f.send(VIRTIO_VSOCK_OP_RW, {}, "answer");
  CHECK(f.take_all() == "answer");
  REQUIRE(f.waits_for(Op::Kind::kPollMultishot));
  f.io.fire(f.find(Op::Kind::kPollMultishot), POLLRDHUP);  // which is known
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  f.io.fire(f.find(Op::Kind::kPollMultishot), POLLRDHUP | POLLHUP);
  CHECK(f.packet()->header.flags == (kSend | kReceive));
  f.send(VIRTIO_VSOCK_OP_RST);
  f.io.finish_cancelled();
  CHECK(f.device.connections() == 0);
}

TEST_CASE(
    "vsock connection: a host program that closes is the end of both directions, until the guest confirms") {
  VsockFixture f;
  f.connect();
  f.host_ends(POLLIN | POLLRDHUP | POLLHUP);
  CHECK(f.packet()->header.flags == (kSend | kReceive));
  SECTION("which it does") {
    f.send(VIRTIO_VSOCK_OP_RST);
    CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  }
  SECTION("which it does not") {
    f.pass_seconds(VsockConnection::kCloseSeconds + 1);
    CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  }
  CHECK(f.device.connections() == 0);
}

TEST_CASE(
    "[case 135] vsock connection: data of a connection that was reset never reaches the next on its ports") {
  VsockFixture f;
  f.connect();
  f.send(VIRTIO_VSOCK_OP_RST);
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  f.finish(Op::Kind::kConnect, 0);
  f.next_read("for the old one");
  f.finish(Op::Kind::kPoll, POLLIN);  // the old one's
  CHECK(f.op() == VIRTIO_VSOCK_OP_RESPONSE);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  f.io.found_now.clear();
  f.host_says("for the new one");
  CHECK(f.packet()->data == "for the new one");
}

TEST_CASE("[case 135] vsock connection: host programs' ports are not used again soon") {
  VsockFixture f;
  Fields first, second;
  {
    const Fd end = f.open(first);
    f.send(VIRTIO_VSOCK_OP_RST, first);
    f.finish(Op::Kind::kPoll, POLLHUP);
  }
  const Fd end = f.open(second);
  CHECK(second.host_port == first.host_port + 1);
}

}  // namespace
}  // namespace uvmm
