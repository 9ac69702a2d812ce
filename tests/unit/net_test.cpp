// SPDX-License-Identifier: Apache-2.0
#include "devices/net.h"

#include <catch2/catch.hpp>
#include <set>

#include "tests/fakes/net_fixture.h"

namespace uvmm {
namespace {

constexpr u64 kHeader = NetFixture::kHeaderBytes;
constexpr u64 kOffloads = NetFixture::kBasic | kNetHostOffloads;

struct FakeListener final : ConfigChangeListener {
  void config_changed() override { ++changes; }
  int changes = 0;
};

std::vector<u8> with_header(const virtio_net_hdr_v1& header, u64 bytes) {
  std::vector<u8> whole = NetFixture::frame(bytes);
  std::memcpy(whole.data(), &header, sizeof header);
  return whole;
}

TEST_CASE("net: the configuration says address, link, pairs and MTU") {
  NetFixture f(NetFixture::kBasic, 2);
  const virtio_net_config config = f.config();
  CHECK(std::equal(NetFixture::kMac.begin(), NetFixture::kMac.end(), config.mac));
  CHECK(config.status == VIRTIO_NET_S_LINK_UP);
  CHECK(config.max_virtqueue_pairs == 2);
  CHECK(config.mtu == 1400);
  CHECK(f.net.device_id() == 1);
  CHECK(f.net.queue_sizes().size() == 5);
}

TEST_CASE("net: it offers what its end can do, and no more") {
  FakeIo io;
  Log log;
  FakeNetEnd bare(0);
  const Net plain(io, bare, {.name = "net"}, log);
  CHECK((plain.features() & FakeNetEnd::kAllOffloads) == 0);
  CHECK_FALSE(has_feature(plain.features(), VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
  CHECK_FALSE(has_feature(plain.features(), VIRTIO_NET_F_MQ));
  CHECK_FALSE(has_feature(plain.features(), VIRTIO_NET_F_MTU));
  FakeNetEnd able(FakeNetEnd::kAllOffloads, 2);
  const Net full(io, able, {.name = "net", .mtu = 1500}, log);
  CHECK((full.features() & FakeNetEnd::kAllOffloads) == FakeNetEnd::kAllOffloads);
  for (const unsigned bit : {VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MTU,
                             VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_CTRL_MAC_ADDR,
                             VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS})
    CHECK(has_feature(full.features(), bit));
}

TEST_CASE("net: default addresses are local, stay the same, and differ") {
  FakeNetEnd end;
  std::set<MacAddress> seen;
  for (const char* const vm : {"", "a", "b", "uvmm"})
    for (const char* const interface : {"", "tap0", "tap1"})
      for (u32 index = 0; index < 50; ++index) {
        end.name = interface;
        const MacAddress mac = default_mac(vm, end, index);
        CHECK((mac[0] & 3) == 2);
        CHECK(mac == default_mac(vm, end, index));
        seen.insert(mac);
      }
  CHECK(seen.size() == 600);
}

TEST_CASE("net: where frames come to one address only, it is the default") {
  FakeNetEnd end;
  end.only = MacAddress{0x52, 0x54, 0, 0, 0, 9};
  CHECK(default_mac("a", end, 0) == *end.only);
  CHECK(default_mac("b", end, 1) == *end.only);
}

TEST_CASE("net: what the host has kept of before is for no driver, in any pair") {
  NetFixture f(NetFixture::kBasic | feature(VIRTIO_NET_F_MQ), 2);
  f.stop();
  f.net.reset();
  for (auto& frames : f.end.arriving) frames.assign(3, NetFixture::frame(60));
  f.net.start(NetFixture::kBasic | feature(VIRTIO_NET_F_MQ));
  CHECK(f.end.arriving[0].empty());
  CHECK(f.end.arriving[1].empty());
}

TEST_CASE("net: the end watches its link while a driver runs, and no longer") {
  FakeIo io;
  Log log;
  FakeRam ram;
  FakeNetEnd end;
  end.watches = true;
  Net net(io, end, {.name = "net"}, log);
  FakeDriver receiver(ram, 8, NetFixture::kBasic);
  FakeQueue queue(net.io(), receiver);
  TaskScope tasks;
  net.start(NetFixture::kBasic);
  tasks.spawn(net.run(queue.queue, 0));
  REQUIRE(io.size() == 1);
  CHECK(io.pending(0).fd == FakeNetEnd::kWatched);
  queue.queue.stop();
  net.io().cancel_all();
  io.finish_all(-ECANCELED);
  CHECK(tasks.empty());
  net.reset();
}

TEST_CASE("net: a frame goes to the host with a header of our own") {
  NetFixture f;
  const auto frame = NetFixture::frame(60);
  f.send(frame);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.bytes_of(0) == frame);
  CHECK_FALSE(f.transmitter().take_used());
  f.io.finish(0, static_cast<i32>(frame.size()));
  CHECK(f.transmitter().take_used()->len == 0);
}

TEST_CASE("net: what the driver writes into a header after it was looked at changes nothing") {
  NetFixture f(kOffloads);
  const auto at = f.transmitter().chain().reads(std::span<const u8>(NetFixture::frame(60))).offer();
  f.kick(1);
  f.transmitter().field<u8>(at[0]) = 0xff;
  CHECK(f.io.bytes_of(0)[0] == 0);
}

TEST_CASE("net: frames offered together go out together, in order") {
  NetFixture f;
  for (u8 i = 0; i < 8; ++i) {
    const auto frame = NetFixture::frame(60, i);
    f.transmitter().chain().reads(std::span<const u8>(frame)).offer();
  }
  f.kick(1);
  REQUIRE(f.io.size() == 8);
  for (u8 i = 0; i < 8; ++i) CHECK(f.io.bytes_of(i)[kHeader] == i);
  f.io.finish_all(72);
  for (u8 i = 0; i < 8; ++i) CHECK(f.transmitter().take_used());
  CHECK(f.queues[1]->interrupt.raised == 1);
}

TEST_CASE("net: rings of 256 and of 1024 entries are filled and emptied") {
  const u16 size = GENERATE(as<u16>(), 256, 1024);
  NetFixture f(NetFixture::kBasic, 1, size);
  for (u32 i = 0; i < size; ++i) f.post(100);
  for (u32 i = 0; i < size; ++i) f.arrive(NetFixture::frame(60));
  for (u32 i = 0; i < size; ++i) REQUIRE(f.receiver().take_used());

  for (u32 i = 0; i < size; ++i) f.send(NetFixture::frame(60));
  CHECK(f.io.size() == size);
  f.io.finish_all(72);
  for (u32 i = 0; i < size; ++i) REQUIRE(f.transmitter().take_used());
  CHECK(f.net.errors().value() == 0);
}

TEST_CASE("[case 71] net: a frame shorter than the header is dropped") {
  const u64 bytes = GENERATE(1u, 11u, 12u);
  NetFixture f;
  f.send(std::vector<u8>(bytes, 0));
  CHECK(f.io.empty());
  CHECK(f.transmitter().take_used()->len == 0);
  CHECK(f.net.errors().value() == 1);
}

TEST_CASE("[case 72] net: a header in descriptors of one byte is a header") {
  NetFixture f(kOffloads);
  const auto frame =
      with_header({.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6}, 60);
  auto chain = f.transmitter().chain();
  for (u64 i = 0; i < kHeader + 3; ++i) chain.reads(frame[i]);
  chain.reads(std::span<const u8>(frame).subspan(kHeader + 3)).offer();
  f.kick(1);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.bytes_of(0) == frame);
}

TEST_CASE("[case 73] net: a frame whose header is wrong is dropped, and the next one is not") {
  const virtio_net_hdr_v1 header =
      GENERATE(virtio_net_hdr_v1{.gso_type = 77, .gso_size = 1},
               virtio_net_hdr_v1{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4},
               virtio_net_hdr_v1{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 60});
  NetFixture f(kOffloads);
  f.send(with_header(header, 60));
  CHECK(f.io.empty());
  CHECK(f.transmitter().take_used());
  f.send(NetFixture::frame(60));
  CHECK(f.io.size() == 1);
}

TEST_CASE("[case 74] net: frames of impossible lengths are dropped") {
  const u32 bytes = GENERATE(0u, 13u, 65'551u, u32{1_MiB}, u32{16_MiB});
  NetFixture f;
  auto chain = f.transmitter().chain();
  const std::vector<u8> header(kHeader, 0);
  chain.reads(std::span<const u8>(header));
  for (u32 left = bytes; left > 0;) {
    const u32 part = std::min<u32>(left, 1_MiB);
    chain.reads_at(FakeRam::kStart, part);
    left -= part;
  }
  chain.offer();
  f.kick(1);
  CHECK(f.io.find(Op::Kind::kWritev) == f.io.size());
  CHECK(f.transmitter().take_used()->len == 0);
}

TEST_CASE("[case 75] net: the header has 12 bytes, whatever was negotiated") {
  const u64 merge = GENERATE(u64{0}, feature(VIRTIO_NET_F_MRG_RXBUF));
  const u64 rest = GENERATE(u64{0}, FakeDriver::kAllFeatures, FakeDriver::kAllFeatures | kNetHostOffloads);
  NetFixture f(merge | rest | feature(VIRTIO_F_VERSION_1));
  CHECK_FALSE(has_feature(f.net.features(), VIRTIO_NET_F_HASH_REPORT));
  f.send(NetFixture::frame(14));
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.length_of(0) == 12 + 14);
  f.io.finish(0, 26);
  const auto at = f.post(12 + 60);
  f.arrive(NetFixture::frame(60));
  CHECK(f.receiver().take_used()->len == 12 + 60);
  CHECK(f.num_buffers(at) == 1);
}

TEST_CASE("net: a frame from outside of RAM is dropped") {
  NetFixture f;
  f.transmitter().chain().reads_at(FakeRam::kEnd - 20, 100).offer();
  f.kick(1);
  CHECK(f.io.empty());
  CHECK(f.transmitter().take_used());
}

TEST_CASE("net: a frame in a buffer for the device to write breaks the queue") {
  NetFixture f;
  f.transmitter().chain().reads(std::span<const u8>(NetFixture::frame(60))).writes(1).offer();
  f.kick(1);
  CHECK(f.queues[1]->listener.broke == 1);
  CHECK(f.io.empty());
}

TEST_CASE("[case 81] net: a host that takes no frames is asked less and less often") {
  const i32 error = GENERATE(-EIO, -EBADFD, -ENETDOWN, -ENOBUFS);
  NetFixture f;
  u64 waited = 0;
  for (int i = 0; i < 12; ++i) {
    f.send(NetFixture::frame(60));
    if (const u32 sleep = f.io.find(Op::Kind::kTimeout); sleep < f.io.size()) {
      waited += f.io.pending(sleep).length;
      f.io.finish(sleep, -ETIME);
    }
    REQUIRE(f.io.size() == 1);
    f.io.finish(0, error);
    CHECK(f.transmitter().take_used());  // lost
  }
  CHECK(waited > 400'000'000);
  CHECK(f.net.errors().value() == 12);
  CHECK(f.lines.size() == 1);
  f.send(NetFixture::frame(60));
  f.io.finish(f.io.find(Op::Kind::kTimeout), -ETIME);
  f.io.finish(0, 72);
  f.send(NetFixture::frame(60));
  CHECK(f.io.find(Op::Kind::kTimeout) == f.io.size());
  CHECK(f.io.size() == 1);
}

TEST_CASE("net: a frame that the host does not like is its own fault") {
  NetFixture f;
  f.send(NetFixture::frame(60));
  f.io.finish(0, -EINVAL);
  f.send(NetFixture::frame(60));
  CHECK(f.io.find(Op::Kind::kTimeout) == f.io.size());
  CHECK(f.io.size() == 1);
}

TEST_CASE("[case 83] net: a flood of frames that the host does not take waits in the driver's ring") {
  NetFixture f(NetFixture::kBasic, 1, 32);
  u32 offered = 0;
  for (; offered < 32; ++offered) f.send(NetFixture::frame(60));
  CHECK(f.io.size() == 32);
  f.kick(1);
  CHECK(f.io.size() == 32);
}

TEST_CASE("[case 83] net: a flood of large frames lets others run after 512 KiB") {
  NetFixture f;
  const std::vector<u8> header(kHeader, 0);
  const GuestAddress data = f.ram.allocate(60'000);
  for (int i = 0; i < 12; ++i)
    f.transmitter().chain().reads(std::span<const u8>(header)).reads_at(address(data), 60'000).offer();
  f.kick(1);
  const u32 yield = f.io.find(Op::Kind::kNop);
  REQUIRE(yield < f.io.size());
  CHECK(f.io.size() == 9 + 1);
  f.io.finish(yield, 0);
  CHECK(f.io.size() == 12);
}

TEST_CASE("[case 82] net: the end is told exactly what the driver took") {
  const u64 subset =
      GENERATE(u64{0}, feature(VIRTIO_NET_F_GUEST_CSUM),
               feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_TSO4), kNetGuestOffloads);
  NetFixture f(NetFixture::kBasic | subset);
  REQUIRE(f.end.offloads_set.size() == 1);
  CHECK((f.end.offloads_set[0] & FakeNetEnd::kAllOffloads) == subset);
}

TEST_CASE("net: the link goes down and up, and the driver is asked to announce itself") {
  NetFixture f(NetFixture::kBasic | feature(VIRTIO_NET_F_GUEST_ANNOUNCE) | feature(VIRTIO_NET_F_CTRL_VQ));
  FakeListener listener;
  f.net.set_listener(&listener);
  f.end.set_link(false);
  CHECK(f.config().status == 0);
  CHECK(listener.changes == 1);
  f.end.set_link(false);
  CHECK(listener.changes == 1);
  f.end.set_link(true);
  CHECK(f.config().status == (VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE));
  CHECK(f.command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, std::span<const u8>()) ==
        VIRTIO_NET_OK);
  CHECK(f.config().status == VIRTIO_NET_S_LINK_UP);
  f.net.set_listener(nullptr);
}

TEST_CASE("net: a cable that is pulled out is a link that is down, through a reset, too") {
  NetFixture f;
  FakeListener listener;
  f.net.set_listener(&listener);
  f.net.plug_in(false);
  CHECK(f.config().status == 0);
  CHECK(listener.changes == 1);
  f.end.set_link(false);
  f.end.set_link(true);
  f.stop();
  f.net.reset();
  CHECK(f.config().status == 0);
  CHECK(listener.changes == 1);
  f.net.plug_in(true);
  CHECK(f.config().status == VIRTIO_NET_S_LINK_UP);
  f.end.set_link(false);
  CHECK(f.config().status == 0);
  f.net.set_listener(nullptr);
}

TEST_CASE("net: without its cable no frame goes either way, and none is kept for later") {
  NetFixture f;
  f.post(1526);
  f.net.plug_in(false);
  f.send(NetFixture::frame(60));
  CHECK(f.io.find(Op::Kind::kWritev) == f.io.size());
  CHECK(f.transmitter().take_used());
  f.arrive(NetFixture::frame(60));
  CHECK_FALSE(f.receiver().take_used());
  f.net.plug_in(true);
  f.arrive(NetFixture::frame(64));
  const auto used = f.receiver().take_used();
  REQUIRE(used);
  CHECK(used->len == NetFixture::kHeaderBytes + 64);
  f.send(NetFixture::frame(60));
  CHECK(f.io.find(Op::Kind::kWritev) < f.io.size());
}

TEST_CASE("net: a reset cancels what is on its way and forgets what the driver had set") {
  NetFixture f(NetFixture::kBasic | feature(VIRTIO_NET_F_CTRL_VQ) | feature(VIRTIO_NET_F_CTRL_MAC_ADDR));
  f.post(1526);
  f.send(NetFixture::frame(60));
  CHECK(f.command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, MacAddress{2, 2, 2, 2, 2, 2}) ==
        VIRTIO_NET_OK);
  CHECK(f.config().mac[1] == 2);
  f.stop();
  CHECK(f.tasks.empty());
  f.net.reset();
  CHECK(f.queue(0).chains_out() == 0);
  CHECK(f.queue(1).chains_out() == 0);
  CHECK(f.config().mac[1] == NetFixture::kMac[1]);
}

TEST_CASE("net: a reset during a pause ends it") {
  NetFixture f;
  f.send(NetFixture::frame(60));
  f.io.finish(0, -EIO);
  f.send(NetFixture::frame(60));
  CHECK(f.io.find(Op::Kind::kTimeout) == 0);
  f.stop();
  CHECK(f.tasks.empty());
}

}  // namespace
}  // namespace uvmm
