// SPDX-License-Identifier: Apache-2.0
// Net's control queue.
#include <catch2/catch.hpp>

#include "tests/fakes/net_fixture.h"

namespace uvmm {
namespace {

constexpr u64 kControl = NetFixture::kBasic | kNetGuestOffloads | feature(VIRTIO_NET_F_CTRL_VQ) |
                         feature(VIRTIO_NET_F_CTRL_RX) | feature(VIRTIO_NET_F_CTRL_MAC_ADDR) |
                         feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | feature(VIRTIO_NET_F_GUEST_ANNOUNCE);
constexpr u64 kPairs = kControl | feature(VIRTIO_NET_F_MQ);
constexpr u8 kOk = VIRTIO_NET_OK;
constexpr u8 kErr = VIRTIO_NET_ERR;

u8 set_pairs(NetFixture& f, u16 pairs) {
  return f.command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs);
}
std::vector<u8> address_tables(u32 unicast, u32 multicast, u64 more = 0) {
  std::vector<u8> bytes;
  for (const u32 entries : {unicast, multicast}) {
    for (u32 shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<u8>(entries >> shift));
    bytes.resize(bytes.size() + std::min<u64>(entries, 4) * 6);
  }
  bytes.resize(bytes.size() + more);
  return bytes;
}

TEST_CASE("net control: modes of reception are taken, since everything is passed on") {
  NetFixture f(kControl);
  CHECK(f.command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, u8{1}) == kOk);
  CHECK(f.command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, u8{1}) == kOk);
  CHECK(f.command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, u8{1}) == kErr);  // not negotiated
  CHECK(f.answered->len == 1);
}

TEST_CASE("net control: a new address is the configuration's, unless it is a group's") {
  NetFixture f(kControl);
  CHECK(f.command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, MacAddress{2, 1, 2, 3, 4, 5}) == kOk);
  CHECK(f.config().mac[5] == 5);
  CHECK(f.command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, MacAddress{3, 1, 2, 3, 4, 6}) == kErr);
  CHECK(f.config().mac[5] == 5);
}

TEST_CASE("net control: tables of addresses") {
  NetFixture f(kControl);
  const auto table_set = [&](const std::vector<u8>& data) {
    return f.command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, std::span<const u8>(data));
  };
  CHECK(table_set(address_tables(0, 0)) == kOk);
  CHECK(table_set(address_tables(1, 4)) == kOk);
  CHECK(table_set(address_tables(1, 4, 1)) == kErr);
  CHECK(table_set(address_tables(5, 0)) == kErr);  // has four
}

TEST_CASE("[case 79] net control: unknown classes and commands, and short ones, are answered with an error") {
  NetFixture f(kPairs, 2);
  for (const u8 device_class : {u8{6}, u8{77}, u8{255}, u8{VIRTIO_NET_CTRL_VLAN}})
    CHECK(f.command(device_class, 0, u16{0}) == kErr);
  for (const u8 device_class : {u8{VIRTIO_NET_CTRL_RX}, u8{VIRTIO_NET_CTRL_MAC}, u8{VIRTIO_NET_CTRL_ANNOUNCE},
                                u8{VIRTIO_NET_CTRL_MQ}, u8{VIRTIO_NET_CTRL_GUEST_OFFLOADS}}) {
    CAPTURE(int{device_class});
    CHECK(f.command(device_class, 200, u16{0}) == kErr);
  }
  CHECK(f.command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, std::span<const u8>()) == kErr);
  CHECK(f.command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, u16{1}) == kErr);
  CHECK(f.command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, u32{2}) == kErr);
  CHECK(f.command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, u8{1}) == kErr);
  const auto at = f.controller().chain().reads(u8{VIRTIO_NET_CTRL_RX}).writes(1).offer();
  f.kick(4);
  CHECK(*f.controller().memory.read<u8>(at[1]) == kErr);
  const auto alone = f.controller().chain().writes(1).offer();
  f.kick(4);
  CHECK(*f.controller().memory.read<u8>(alone[0]) == kErr);
}

TEST_CASE("[case 79] net control: a table of 2^32 - 1 addresses is answered with an error") {
  NetFixture f(kControl);
  const u32 entries = GENERATE(~u32{0}, u32{0x2aaa'aaab}, u32{1025});
  CHECK(f.command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
                  std::span<const u8>(address_tables(entries, 0))) == kErr);
}

TEST_CASE("[case 79] net control: no pairs, and more pairs than there are") {
  NetFixture f(kPairs, 2);
  CHECK(set_pairs(f, 0) == kErr);
  CHECK(set_pairs(f, 3) == kErr);
  CHECK(set_pairs(f, 0x8000) == kErr);
  CHECK(f.end.pairs_set == std::vector<u16>{1});
}

TEST_CASE("[case 80] net control: a command without a place for its answer needs a reset") {
  NetFixture f(kControl);
  f.controller().chain().reads(u16{0}).reads(u8{1}).offer();
  f.kick(2);
  CHECK(f.queues[2]->listener.broke == 1);
}

TEST_CASE("net control: an answer outside of RAM needs a reset") {
  NetFixture f(kControl);
  f.controller().chain().reads(u16{0}).reads(u8{1}).writes_at(FakeRam::kEnd, 1).offer();
  f.kick(2);
  CHECK(f.queues[2]->listener.broke == 1);
}

TEST_CASE("net control: pairs that are switched on receive, those that are switched off do not") {
  NetFixture f(kPairs, 2);
  const auto second = f.receiver(1).chain().writes(1526).offer();
  f.kick(2);
  CHECK_FALSE(f.waits_for_frames(1));
  CHECK(set_pairs(f, 2) == kOk);
  CHECK(f.end.pairs_set == std::vector<u16>{1, 2});
  CHECK(f.waits_for_frames(1));
  f.arrive(NetFixture::frame(60), 1);
  CHECK(f.receiver(1).take_used()->len == NetFixture::kHeaderBytes + 60);

  CHECK(set_pairs(f, 1) == kOk);
  f.post(1526, 1);
  f.arrive(NetFixture::frame(60), 1);
  CHECK_FALSE(f.receiver(1).take_used());
  CHECK(set_pairs(f, 2) == kOk);
  CHECK(f.receiver(1).take_used());
}

TEST_CASE("net control: a frame in a pair that is switched off goes out through the first") {
  NetFixture f(kPairs, 2);
  f.transmitter(1).chain().reads(std::span<const u8>(NetFixture::frame(60))).offer();
  f.kick(3);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).fd == 0);
  f.io.finish(0, 72);
  CHECK(set_pairs(f, 2) == kOk);
  f.transmitter(1).chain().reads(std::span<const u8>(NetFixture::frame(60))).offer();
  f.kick(3);
  CHECK(f.io.pending(0).fd == 1);
}

TEST_CASE("net control: pairs that the host refuses stay off") {
  NetFixture f(kPairs, 2);
  f.end.refuses = true;
  CHECK(set_pairs(f, 2) == kErr);
  f.receiver(1).chain().writes(1526).offer();
  f.kick(2);
  CHECK_FALSE(f.waits_for_frames(1));
}

TEST_CASE("[case 82] net control: offloads that the driver gives up are the end's at once") {
  NetFixture f(kControl);
  const le64 sum = feature(VIRTIO_NET_F_GUEST_CSUM);
  CHECK(f.command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, sum) == kOk);
  CHECK((f.end.offloads_set.back() & kNetGuestOffloads) == sum);
  CHECK(f.command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, le64{0}) == kOk);
  CHECK((f.end.offloads_set.back() & kNetGuestOffloads) == 0);
  CHECK(f.command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, le64{kNetGuestOffloads}) == kOk);
  const std::size_t before = f.end.offloads_set.size();
  CHECK(f.command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, ~le64{0}) == kErr);
  CHECK(f.command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, feature(VIRTIO_NET_F_HOST_TSO4)) == kErr);
  CHECK(f.command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, u32{0}) == kErr);
  CHECK(f.end.offloads_set.size() == before);
}

TEST_CASE("net control: a reset with pairs switched on ends them, and the next driver starts with one") {
  NetFixture f(kPairs, 2);
  f.post(1526, 0);
  f.post(1526, 1);
  CHECK(set_pairs(f, 2) == kOk);
  f.stop();
  CHECK(f.tasks.empty());
  f.net.reset();
  for (u16 i = 0; i < 4; ++i) CHECK(f.queue(i).chains_out() == 0);
  f.net.start(kPairs);
  CHECK(f.end.pairs_set.back() == 1);
}

TEST_CASE("net control: without VIRTIO_NET_F_MQ the control queue comes after the first pair") {
  FakeIo io;
  Log log;
  FakeRam ram;
  FakeNetEnd end(FakeNetEnd::kAllOffloads, 2);
  Net net(io, end, {.name = "net"}, log);
  FakeDriver controller(ram, 8, kControl);
  FakeQueue queue(net.io(), controller);
  TaskScope tasks;
  net.start(kControl);
  tasks.spawn(net.run(queue.queue, 2));
  const auto at = controller.chain().reads(u16{0}).reads(u8{1}).writes(1).offer();
  queue.queue.notify();
  io.end_turn();
  CHECK(*controller.memory.read<u8>(at[2]) == kOk);
  queue.queue.stop();
  CHECK(tasks.empty());
  net.reset();
}

}  // namespace
}  // namespace uvmm
