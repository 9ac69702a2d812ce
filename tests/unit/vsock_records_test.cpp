// SPDX-License-Identifier: Apache-2.0
// Connections that keep records apart, whose pieces are packets to the guest and one message to the host.
#include "devices/vsock_connection.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/fakes/vsock_fixture.h"

namespace uvmm {
namespace {

using Fields = VsockFixture::Fields;

constexpr Fields kRecord{.type = VIRTIO_VSOCK_TYPE_SEQPACKET};

TEST_CASE("vsock connection: a record in several packets is one for the host") {
  VsockFixture f;
  f.connect(kRecord);
  Fields fields = kRecord;
  f.send(VIRTIO_VSOCK_OP_RW, fields, "first half, ");
  CHECK_FALSE(f.waits_for(Op::Kind::kSendmsg));
  fields.flags = VIRTIO_VSOCK_SEQ_EOM;
  f.offer(VIRTIO_VSOCK_OP_RW, fields, "second half");
  f.offer(VIRTIO_VSOCK_OP_RW, fields, "another");
  f.kick();
  CHECK(f.sending() == "first half, second half");
  f.finish(Op::Kind::kSendmsg, 23);
  CHECK(f.sending() == "another");
}

TEST_CASE("vsock connection: a record of the host goes in as many packets as it takes") {
  VsockFixture f;
  f.connect(kRecord);
  f.host_says(std::string(5000, 'r'));
  const auto first = f.packet();
  CHECK(first->data.size() == 4096);
  CHECK(first->header.flags == 0);
  const auto second = f.packet();
  CHECK(second->data.size() == 904);
  CHECK(second->header.flags == VIRTIO_VSOCK_SEQ_EOM);
}

TEST_CASE("vsock connection: a record waits for the guest's room, in pieces if need be") {
  VsockFixture f;
  Fields fields = kRecord;
  fields.buf_alloc = 3000;
  f.connect(fields);
  f.host_says(std::string(2000, 'a'));
  f.host_says(std::string(2000, 'b'));
  CHECK(f.packet()->data == std::string(2000, 'a'));
  CHECK(f.packet()->data == std::string(1000, 'b'));
  CHECK(f.op() == VIRTIO_VSOCK_OP_CREDIT_REQUEST);
  fields.fwd_cnt = 2000;
  f.send(VIRTIO_VSOCK_OP_CREDIT_UPDATE, fields);
  const auto rest = f.packet();
  CHECK(rest->data == std::string(1000, 'b'));
  CHECK(rest->header.flags == VIRTIO_VSOCK_SEQ_EOM);
}

TEST_CASE("vsock connection: a record that the guest can never take is a reset") {
  VsockFixture f;
  Fields fields = kRecord;
  fields.buf_alloc = 3000;
  f.connect(fields);
  f.host_says(std::string(3001, 'x'));
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
  CHECK(f.device.connections() == 0);
}

TEST_CASE("vsock connection: a record that the socket cuts is a reset") {
  VsockFixture f;
  f.connect(kRecord);
  Fields fields = kRecord;
  fields.flags = VIRTIO_VSOCK_SEQ_EOM;
  f.send(VIRTIO_VSOCK_OP_RW, fields, "record");
  f.finish(Op::Kind::kSendmsg, 3);
  CHECK(f.op() == VIRTIO_VSOCK_OP_RST);
}

TEST_CASE("[case 129] vsock connection: empty records do not pile up without bound") {
  VsockFixture f;
  f.connect(kRecord);
  Fields fields = kRecord;
  fields.flags = VIRTIO_VSOCK_SEQ_EOM;
  f.send(VIRTIO_VSOCK_OP_RW, fields, "x");
  f.finish(Op::Kind::kSendmsg, -EAGAIN);
  const auto header = f.header(VIRTIO_VSOCK_OP_RW, fields, 0);
  const GuestAddress at = f.ram.allocate(sizeof header);
  REQUIRE(f.ram.memory().write(at, header));
  for (u64 i = 0; i <= VsockSink::kMostRecords && f.device.connections() == 1; ++i) {
    while (f.transmitter.take_used()) continue;
    f.transmitter.chain().reads_at(address(at), sizeof header).offer();
    f.kick();
    if (f.op() == VIRTIO_VSOCK_OP_RST) break;
  }
  f.hang_up();
  CHECK(f.device.connections() == 0);
}

}  // namespace
}  // namespace uvmm
