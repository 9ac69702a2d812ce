// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "devices/connect_line.h"
#include "tests/fakes/heap.h"
#include "tests/fakes/vsock_fixture.h"

namespace uvmm {
namespace {

using Fields = VsockFixture::Fields;

TEST_CASE("vsock: it has the guest's CID, and streams and records") {
  VsockFixture f;
  CHECK(f.device.device_id() == VIRTIO_ID_VSOCK);
  CHECK(f.device.features() == feature(VIRTIO_VSOCK_F_SEQPACKET));
  CHECK(f.device.queue_sizes().size() == 3);
  le64 cid = 0;
  REQUIRE(f.device.config().size() == sizeof cid);
  std::memcpy(&cid, f.device.config().data(), sizeof cid);
  CHECK(cid == VsockFixture::kCid);
}

TEST_CASE("[case 121] vsock: a length beyond the packet's buffers is a reset") {
  const u32 len = GENERATE(6u, 0x10000u, 0xffffffffu);
  VsockFixture f;
  f.connect();
  f.send(VIRTIO_VSOCK_OP_RW, {.len = len}, "hello");
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK_FALSE(f.waits_for(Op::Kind::kSendmsg));
}

TEST_CASE("[case 121] vsock: bytes behind the length are not the packet's") {
  VsockFixture f;
  f.connect();
  f.send(VIRTIO_VSOCK_OP_RW, {.len = 2}, "hello");
  CHECK(f.take_all() == "he");
}

TEST_CASE("[case 121] vsock: less than a header has no answer") {
  VsockFixture f;
  f.transmitter.chain().reads(u64{0}).offer();
  f.transmitter.chain().reads_at(FakeRam::kEnd - 10, 44).offer();  // nor has one that is not in RAM
  f.kick();
  CHECK(f.transmitter.used_index() == 2);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
}

TEST_CASE("[case 19] vsock: a header is read once, whatever becomes of it afterwards") {
  VsockFixture f;
  f.connect();
  const GuestAddress at = f.ram.allocate(sizeof(virtio_vsock_hdr));
  auto header = f.header(VIRTIO_VSOCK_OP_RW, {}, 4);
  REQUIRE(f.ram.memory().write(at, header));
  f.transmitter.chain().reads_at(address(at), sizeof header).reads_at(FakeRam::kBoundary, 100).offer();
  f.kick();
  header.len = 100;
  REQUIRE(f.ram.memory().write(at, header));
  CHECK(f.sending().size() == 4);
}

TEST_CASE("[case 122] vsock: packets from another CID, or to what is none, have no answer") {
  const Fields fields =
      GENERATE(Fields{.src_cid = 6}, Fields{.src_cid = 2}, Fields{.src_cid = u64{1} << 32 | 5},
               Fields{.dst_cid = u64{1} << 32 | 2}, Fields{.dst_cid = u64{1} << 32 | 7});
  VsockFixture f;
  f.send(VIRTIO_VSOCK_OP_REQUEST, fields);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  CHECK(f.device.connections() == 0);
}

TEST_CASE(
    "[case 122] vsock: a request to another CID is answered with a reset from there, and connects nothing") {
  const u32 cid = GENERATE(0u, 1u, 3u, VsockFixture::kCid, 7u, 0xffffffffu);
  VsockFixture f;
  const u32 before = f.io.size();
  f.send(VIRTIO_VSOCK_OP_REQUEST, {.dst_cid = cid});
  const auto used = f.receiver.take_used();
  REQUIRE(used);
  const auto header =
      f.receiver.field<virtio_vsock_hdr>(guest(f.receiver.descriptor(static_cast<u16>(used->id)).addr));
  CHECK(header.op == VIRTIO_VSOCK_OP_RST);
  CHECK(header.src_cid == cid);
  CHECK(header.src_port == 52);
  CHECK(header.dst_port == VsockFixture::kGuestPort);
  CHECK(f.device.connections() == 0);
  CHECK(f.io.size() <= before + 1);  // the time that passes until an interrupt
}

TEST_CASE(
    "[case 122] vsock: other packets to another CID have no answer, and concern no connection of the "
    "host's") {
  const u16 op =
      GENERATE(VIRTIO_VSOCK_OP_RST, VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_RESPONSE);
  VsockFixture f;
  f.connect();
  f.send(op, {.dst_cid = 7, .flags = kVsockShutdownBoth}, op == VIRTIO_VSOCK_OP_RW ? "x" : "");
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  CHECK(f.device.connections() == 1);
  CHECK_FALSE(f.waits_for(Op::Kind::kSendmsg));
}

TEST_CASE("[case 122] vsock: unknown operations and types are answered with a reset") {
  VsockFixture f;
  SECTION("an operation that does not exist") {
    f.send(GENERATE(0, 8, 0xffff));
  }
  SECTION("a type that does not exist") {
    f.send(VIRTIO_VSOCK_OP_REQUEST, {.type = 3});
  }
  SECTION("an operation, on a connection") {
    f.connect();
    f.send(9);
  }
  SECTION("a type, on a connection of another") {
    f.connect();
    f.send(VIRTIO_VSOCK_OP_RW, {.type = VIRTIO_VSOCK_TYPE_SEQPACKET}, "x");
  }
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
}

TEST_CASE("vsock: a driver without records gets none") {
  VsockFixture f(32, 0);
  f.send(VIRTIO_VSOCK_OP_REQUEST, {.type = VIRTIO_VSOCK_TYPE_SEQPACKET});
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(f.io.size() == 1);  // only streams are accepted
}

// With UVMM_TEST_FULL a million in all.
TEST_CASE("[case 123] vsock: what belongs to no connection is answered with resets, of which few wait") {
  const u16 op = GENERATE(VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_REQUEST,
                          VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_RESPONSE);
  constexpr int kAtOnce = 50;
  VsockFixture f(2);
  const GuestAddress at = f.ram.allocate(sizeof(virtio_vsock_hdr));
  REQUIRE(f.ram.memory().write(at, f.header(op, {}, 0)));
  const auto send = [&](u64 packets) {
    for (u64 sent = 0; sent < packets; sent += kAtOnce) {
      while (f.transmitter.take_used()) continue;
      for (int i = 0; i < kAtOnce; ++i)
        f.transmitter.chain().reads_at(address(at), sizeof(virtio_vsock_hdr)).offer();
      f.kick();
    }
  };
  send(2 * VsockOutbox::kMostResets);
  const u64 heap = heap_bytes();
  send(sized(10'000, 200'000));
  CHECK(heap_bytes() == heap);
  u64 resets = 0;
  while (f.op() == VIRTIO_VSOCK_OP_RST) {
    ++resets;
    f.post(1, 64);
  }
  CHECK(resets == 2 + VsockOutbox::kMostResets);
}

TEST_CASE("[case 123] vsock: a reset that belongs to no connection has no answer") {
  VsockFixture f;
  f.send(VIRTIO_VSOCK_OP_RST);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
}

TEST_CASE("[case 124] vsock: a request for ports that are in use resets the connection that has them, once") {
  VsockFixture f;
  f.connect();
  f.send(VIRTIO_VSOCK_OP_REQUEST);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  f.hang_up();
  CHECK(f.device.connections() == 0);
}

// As many descriptors as the machine allows.
struct MoreDescriptors {
  MoreDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit all{.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &all);
  }
  ~MoreDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before); }
  rlimit before{};
};

TEST_CASE("[case 126] vsock: requests beyond the limit are reset, and nothing is left when all have closed") {
  const MoreDescriptors more;
  const u64 requests = sized(VsockTable::kMostConnections + 1000, 100'000);
  VsockFixture f;
  const GuestAddress at = f.ram.allocate(sizeof(virtio_vsock_hdr));
  u64 resets = 0, heap = 0;
  for (u64 i = 0; i < requests; ++i) {
    if (i == VsockTable::kMostConnections + 100) heap = heap_bytes();
    while (f.transmitter.take_used()) continue;
    const Fields fields{.guest_port = static_cast<u32>(2000 + i)};
    REQUIRE(f.ram.memory().write(at, f.header(VIRTIO_VSOCK_OP_REQUEST, fields, 0)));
    f.transmitter.chain().reads_at(address(at), sizeof(virtio_vsock_hdr)).offer();
    f.kick();
    for (; f.op() == VIRTIO_VSOCK_OP_RST; ++resets) f.post_again(64);
  }
  CHECK(heap_bytes() <= heap);
  CHECK(f.device.connections() <= VsockTable::kMostConnections);
  CHECK(f.device.connections() + resets == requests);
  const Fd next(::dup(0));
  CHECK(next.get() < static_cast<int>(::sysconf(_SC_OPEN_MAX)) - 60);
  f.io.finish_all(-ECONNREFUSED);
  while (f.op() == VIRTIO_VSOCK_OP_RST) f.post_again(64);
  CHECK(f.device.connections() == 0);
}

TEST_CASE("[case 126] vsock: some descriptors are left for everything else") {
  VsockFixture f;
  CHECK(f.host->within_reserve(100));
  CHECK_FALSE(f.host->within_reserve(INT_MAX));
}

TEST_CASE("[case 126] vsock: a host without descriptors is asked again later") {
  const i32 error = GENERATE(-EMFILE, -ENFILE, -ENOMEM, -ECONNABORTED);
  VsockFixture f;
  f.io.finish(0, error);
  CHECK(f.waits_for(Op::Kind::kTimeout));
  f.finish(Op::Kind::kTimeout, -ETIME);
  u32 accepting = 0;
  for (u32 i = 0; i < f.io.size(); ++i) accepting += f.io.pending(i).kind == Op::Kind::kAccept;
  CHECK(accepting == 2);
}

TEST_CASE("[case 133] vsock: without buffers to receive into, nothing is done again and again") {
  constexpr u32 kConnections = 1000;
  const MoreDescriptors more;
  VsockFixture f(0);
  std::vector<Fd> ends;
  for (u32 i = 0; i < kConnections; ++i) {
    ends.push_back(f.client());
    f.say_line(connect_request(i));
    f.post_again(64);  // for the request, since words come before data
    const auto request = f.packet();
    REQUIRE(request);
    f.send(VIRTIO_VSOCK_OP_RESPONSE, {.host_port = request->header.src_port, .guest_port = i});
    f.finish(Op::Kind::kSend, static_cast<i32>(f.io.length_of(f.find(Op::Kind::kSend))));
    f.pass_seconds(1);
    f.finish(Op::Kind::kPoll, POLLIN);  // its program has written
  }
  const u64 before = f.io.submitted;
  for (int i = 0; i < 10; ++i) f.io.end_turn();
  const u64 heap = heap_bytes();
  for (int i = 0; i < 1000; ++i) f.io.end_turn();
  CHECK(f.io.submitted == before);
  CHECK(heap_bytes() == heap);

  std::set<u32> ports;
  for (u32 i = 0; i < kConnections; ++i) {
    f.next_read("x");
    f.post_again(64);
    const auto packet = f.packet();
    REQUIRE(packet);
    REQUIRE(packet->data == "x");
    ports.insert(packet->header.dst_port);
  }
  CHECK(ports.size() == kConnections);
}

TEST_CASE("[case 134] vsock: the event queue is left alone") {
  VsockFixture f;
  FakeDriver events(f.ram);
  FakeQueue queue(f.device.io(), events);
  events.chain().writes(sizeof(virtio_vsock_event)).offer();
  f.tasks.spawn(f.device.run(queue.queue, Vsock::kEventQueue));
  queue.queue.notify();
  f.io.end_turn();
  CHECK_FALSE(events.take_used());  // to the driver, one that is used says that all connections are gone
  queue.queue.stop();
}

TEST_CASE("vsock: connections take turns at the guest's buffers") {
  VsockFixture f(2);
  f.connect({.guest_port = 1});
  f.connect({.guest_port = 2});
  for (int i = 0; i < 2; ++i) f.finish(Op::Kind::kPoll, POLLIN);
  CHECK(f.op() == VIRTIO_VSOCK_OP_INVALID);
  std::vector<u32> ports;
  for (int i = 0; i < 4; ++i) {
    f.next_read(std::string(4096, 'x'));
    f.post(1);
    ports.push_back(f.packet()->header.dst_port);
    f.finish(Op::Kind::kPoll, POLLIN);  // there is always more
  }
  CHECK(ports == std::vector<u32>{1, 2, 1, 2});
}

TEST_CASE(
    "vsock: the guest is interrupted for what it has transmitted only after a while, or for half a ring") {
  VsockFixture f;
  f.connect();
  const u32 before = f.tx.interrupt.raised;
  const auto send = [&] {
    f.offer(VIRTIO_VSOCK_OP_CREDIT_UPDATE, {}, {});
    f.tx.queue.notify();
    f.io.end_turn();
  };
  f.transmitter.used_event() = f.transmitter.used_index();  // it wants one for the next
  send();
  CHECK(f.transmitter.take_used());  // it could see if it looked
  CHECK(f.tx.interrupt.raised == before);
  f.let_interrupt();
  CHECK(f.tx.interrupt.raised == before + 1);
  f.transmitter.used_event() = f.transmitter.used_index();
  for (u32 i = 0; i < 31; ++i) send();
  CHECK(f.tx.interrupt.raised == before + 1);
  send();
  CHECK(f.tx.interrupt.raised == before + 2);
}

TEST_CASE("vsock: a header may lie in any number of pieces") {
  VsockFixture f(1);
  f.connect();
  const GuestAddress at = f.ram.allocate(64);
  auto chain = f.receiver.chain();
  for (u64 i = 0; i < 43; ++i) chain.writes_at(address(at) + i, 1);
  chain.writes_at(address(at) + 43, 21).indirect().offer();
  f.rx.queue.notify();
  f.host_says("split");
  CHECK(f.receiver.take_used()->len == 49);
  const auto header = f.receiver.field<virtio_vsock_hdr>(at);
  CHECK(header.op == VIRTIO_VSOCK_OP_RW);
  CHECK(header.len == 5);
  const auto bytes = f.receiver.bytes(at + sizeof header, 5);
  CHECK(std::string(bytes.begin(), bytes.end()) == "split");
}

TEST_CASE("[case 13] vsock: buffers to receive into that hold no packet come back empty") {
  VsockFixture f(0);
  f.receiver.chain().writes(sizeof(virtio_vsock_hdr)).offer();
  f.receiver.chain().writes_at(FakeRam::kEnd - 44, 4096).offer();
  f.post(1);
  f.send(VIRTIO_VSOCK_OP_RW, {}, "x");
  CHECK(f.receiver.take_used()->len == 0);
  CHECK(f.receiver.take_used()->len == 0);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
}

TEST_CASE("vsock: a reset of the device closes every socket and leaves nothing behind") {
  VsockFixture f;
  Fields fields;
  const Fd end = f.open(fields);
  const Fd asking = f.client();
  f.send(VIRTIO_VSOCK_OP_RW, fields, "in flight");
  f.send(VIRTIO_VSOCK_OP_REQUEST, {.host_port = 9, .guest_port = 9});
  f.reset();
  CHECK(f.device.connections() == 0);
  CHECK(at_end(end));
  CHECK(at_end(asking));
}

TEST_CASE("vsock: a driver that comes after a reset starts afresh") {
  VsockFixture f;
  f.connect();
  f.reset();
  f.device.io().reopen();
  f.device.start(0);
  FakeDriver receiver(f.ram), transmitter(f.ram);
  FakeQueue rx(f.device.io(), receiver), tx(f.device.io(), transmitter);
  f.tasks.spawn(f.device.run(rx.queue, Vsock::kReceiveQueue));
  f.tasks.spawn(f.device.run(tx.queue, Vsock::kTransmitQueue));
  const auto at = receiver.chain().writes(64).offer();
  transmitter.chain().reads(f.header(VIRTIO_VSOCK_OP_RW, {}, 0)).offer();
  tx.queue.notify();
  f.io.end_turn();
  CHECK(receiver.field<virtio_vsock_hdr>(at[0]).op == VIRTIO_VSOCK_OP_RST);
  rx.queue.stop();
  tx.queue.stop();
  f.reset();
}

TEST_CASE("vsock: a client that is brought names its port as others do") {
  VsockFixture f;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd ours(ends[0]);
  f.device.take_client(Fd(ends[1]));
  f.say_line(connect_request(22));
  const auto request = f.packet();
  REQUIRE(request);
  CHECK(request->header.op == VIRTIO_VSOCK_OP_REQUEST);
  CHECK(request->header.dst_port == 22);
}

TEST_CASE("vsock: without a driver a client that is brought is sent away") {
  FakeIo io;
  Log log;
  const auto host = *VsockHost::open("");
  Vsock device(io, *host, 3, log);
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd ours(ends[0]);
  device.take_client(Fd(ends[1]));
  CHECK(at_end(ours));
  CHECK(device.connections() == 0);
}

TEST_CASE("vsock: the receive queue alone can be stopped, too") {
  FakeIo io;
  Log log;
  VsockDirectory directory;
  const auto host = *VsockHost::open(directory.path + "/s");
  Vsock device(io, *host, 3, log);
  FakeDriver driver;
  FakeQueue queue(device.io(), driver);
  TaskScope tasks;
  device.start(0);
  tasks.spawn(device.run(queue.queue, Vsock::kReceiveQueue));
  queue.queue.stop();
  device.io().cancel_all();
  device.stop();
  CHECK(tasks.empty());
}

}  // namespace
}  // namespace uvmm
