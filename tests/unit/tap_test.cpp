// SPDX-License-Identifier: Apache-2.0
// Taps of the host's kernel, in a network namespace of the test's own.
#include "devices/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "devices/net_header.h"
#include "tests/fakes/fake_io.h"
#include "tests/fakes/skip.h"
#include "vmm/base/uring.h"

namespace uvmm {
namespace {

constexpr u64 kCsum = feature(VIRTIO_NET_F_GUEST_CSUM);
constexpr u64 kTso4 = feature(VIRTIO_NET_F_GUEST_TSO4);
constexpr u64 kTso6 = feature(VIRTIO_NET_F_GUEST_TSO6);
constexpr u64 kEcn = feature(VIRTIO_NET_F_GUEST_ECN);
constexpr u64 kUso4 = feature(VIRTIO_NET_F_GUEST_USO4);
constexpr u64 kUso6 = feature(VIRTIO_NET_F_GUEST_USO6);
constexpr NetConfig::Kind kTap = NetConfig::Kind::kTap;
constexpr NetConfig::Kind kFds = NetConfig::Kind::kFds;

// The network of this process, from here on without anything but what a test makes.
struct Network {
  Network() {
    if (::unshare(CLONE_NEWNET) < 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
      skip("network namespaces are not for us here");
    if (const Fd tun(::open("/dev/net/tun", O_RDWR)); !tun) skip("there is no /dev/net/tun");
    socket = Fd(::socket(AF_INET, SOCK_DGRAM, 0));
  }

  ifreq ask(unsigned long code, const char* name) const {
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    REQUIRE(::ioctl(socket.get(), code, &request) == 0);
    return request;
  }
  bool exists(const char* name) const {
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    return ::ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0;
  }
  // What ethtool shows of it.
  bool has_offload(const char* name, u32 question) const {
    ethtool_value value{.cmd = question, .data = 0};
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&value);
    REQUIRE(::ioctl(socket.get(), SIOCETHTOOL, &request) == 0);
    return value.data != 0;
  }

  Fd socket;
};

// One queue of a tap, opened by somebody else.
Fd open_tap(const char* name, int flags, bool persist = false) {
  Fd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(flags);
  REQUIRE(::ioctl(fd.get(), TUNSETIFF, &request) == 0);
  if (persist) REQUIRE(::ioctl(fd.get(), TUNSETPERSIST, 1) == 0);
  return fd;
}
void make_tap(const char* name, int more = 0) {
  open_tap(name, IFF_TAP | IFF_NO_PI | more, true);
}

std::unique_ptr<Tap> opened(const NetConfig& config, u16 pairs = 1) {
  static Log log;
  Result<std::unique_ptr<Tap>> tap = Tap::open(config, pairs, log);
  if (!tap) FAIL(tap.error().message);
  return std::move(*tap);
}
Error refused(const NetConfig& config, u16 pairs = 1) {
  static Log log;
  const Result<std::unique_ptr<Tap>> tap = Tap::open(config, pairs, log);
  if (tap) FAIL("not refused");
  return tap.error();
}

TEST_CASE(
    "[case 82] tap: its flags are those of the offloads that were negotiated, as far as they go together") {
  const auto [features, flags] = GENERATE(table<u64, unsigned>({
      {0, 0},
      {kCsum, TUN_F_CSUM},
      {kTso4 | kTso6, 0},
      {kCsum | kTso4, TUN_F_CSUM | TUN_F_TSO4},
      {kCsum | kTso6, TUN_F_CSUM | TUN_F_TSO6},
      {kCsum | kEcn, TUN_F_CSUM},
      {kCsum | kTso4 | kEcn, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN},
      {kCsum | kUso4, TUN_F_CSUM},
      {kCsum | kUso4 | kUso6, TUN_F_CSUM | 0x60},
      {kNetHostOffloads, 0},
  }));
  CHECK(tun_offload_flags(features) == flags);
}

TEST_CASE("tap: one that is not there is made, brought up, and gone afterwards") {
  const Network network;
  auto tap = opened({.kind = kTap, .tap = "t0", .mtu = 4000});
  CHECK((network.ask(SIOCGIFFLAGS, "t0").ifr_flags & IFF_UP) != 0);
  CHECK(network.ask(SIOCGIFMTU, "t0").ifr_mtu == 4000);
  CHECK(tap->pairs() == 1);
  CHECK(tap->longest_frame() >= 4000 + 14 + 4);
  tap.reset();
  CHECK_FALSE(network.exists("t0"));
}

TEST_CASE("tap: one that is there is used as it was made") {
  const Network network;
  const bool several = GENERATE(false, true);
  make_tap("t0", several ? IFF_MULTI_QUEUE : 0);
  CHECK(opened({.kind = kTap, .tap = "t0"}, 1)->pairs() == 1);
  CHECK(opened({.kind = kTap, .tap = "t0"}, 4)->pairs() == (several ? 4 : 1));
  CHECK(opened({.kind = kTap, .tap = "t0", .queues = 1}, 4)->pairs() == 1);
  CHECK((network.ask(SIOCGIFFLAGS, "t0").ifr_flags & IFF_UP) == 0);
  if (several) CHECK(opened({.kind = kTap, .tap = "t0", .queues = 3}, 1)->pairs() == 3);
  if (several) return;
  const Error error = refused({.kind = kTap, .tap = "t0", .queues = 3});
  CHECK(error.kind == ErrorKind::kBadData);
  CHECK(error.message == "--net tap=t0: queues: 3, but it has one");
}

TEST_CASE("tap: one that another process has is busy") {
  const Network network;
  const Fd other = open_tap("t0", IFF_TAP | IFF_NO_PI);
  const Error error = refused({.kind = kTap, .tap = "t0"});
  CHECK(error.kind == ErrorKind::kBusy);
  CHECK(error.hint == "another process has it");
}

TEST_CASE("tap: an interface that is none is refused") {
  const Network network;
  CHECK(refused({.kind = kTap, .tap = "lo"}).message == "--net tap=lo: is not a tap");
  open_tap("tun0", IFF_TUN | IFF_NO_PI, true);
  CHECK(refused({.kind = kTap, .tap = "tun0"}).kind == ErrorKind::kBadData);
}

TEST_CASE("tap: a descriptor must be open, a tap, and in the mode that frames have") {
  const Network network;
  CHECK(refused({.kind = kFds, .fds = {987}}).kind == ErrorKind::kBadData);
  const Fd null(::open("/dev/null", O_RDWR));
  CHECK(refused({.kind = kFds, .fds = {null.get()}}).message.find("is not a tap") != std::string::npos);
  const Fd unattached(::open("/dev/net/tun", O_RDWR));
  CHECK(refused({.kind = kFds, .fds = {unattached.get()}}).message.find("is not a tap") != std::string::npos);
  for (const int flags : {IFF_TAP | IFF_NO_PI, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR}) {
    const Fd other = open_tap("t0", flags);
    CHECK(refused({.kind = kFds, .fds = {other.get()}}).message.find("in another mode") != std::string::npos);
  }
}

TEST_CASE("tap: descriptors are queue pairs of one interface") {
  const Network network;
  constexpr int kFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  const Fd first = open_tap("t0", kFlags), second = open_tap("t0", kFlags), stranger = open_tap("t1", kFlags);
  CHECK(opened({.kind = kFds, .fds = {first.get(), second.get()}})->pairs() == 2);
  CHECK(refused({.kind = kFds, .fds = {first.get(), stranger.get()}}).message.find("is a queue of t1") !=
        std::string::npos);
}

TEST_CASE("[case 82] tap: the host leaves to the guest what that has taken, and no more") {
  const Network network;
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  CHECK((tap->offloads() & (kNetHostOffloads & ~feature(VIRTIO_NET_F_HOST_USO))) ==
        (kNetHostOffloads & ~feature(VIRTIO_NET_F_HOST_USO)));
  CHECK_FALSE(network.has_offload("t0", ETHTOOL_GTXCSUM));
  REQUIRE(tap->set_offloads(kCsum));
  CHECK(network.has_offload("t0", ETHTOOL_GTXCSUM));
  CHECK_FALSE(network.has_offload("t0", ETHTOOL_GTSO));
  REQUIRE(tap->set_offloads(kCsum | kTso4 | kTso6 | kEcn));
  CHECK(network.has_offload("t0", ETHTOOL_GTSO));
  REQUIRE(tap->set_offloads(0));
  CHECK_FALSE(network.has_offload("t0", ETHTOOL_GTXCSUM));
}

// What ethtool -k shows as on, of the features that the offloads are about.
u64 shown_features(const Network& network, const char* name) {
  const auto ask = [&](auto question, u64 bytes) {
    std::vector<u8> answer(sizeof question + bytes);
    std::memcpy(answer.data(), &question, sizeof question);
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(answer.data());
    REQUIRE(::ioctl(network.socket.get(), SIOCETHTOOL, &request) == 0);
    answer.erase(answer.begin(), answer.begin() + sizeof question);
    return answer;
  };
  u32 count = 0;
  const auto counted =
      ask(ethtool_sset_info{.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1u << ETH_SS_FEATURES}, sizeof count);
  std::memcpy(&count, counted.data(), sizeof count);
  const auto names =
      ask(ethtool_gstrings{.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = count},
          u64{count} * ETH_GSTRING_LEN);
  const u32 words = (count + 31) / 32;
  const auto blocks = ask(ethtool_gfeatures{.cmd = ETHTOOL_GFEATURES, .size = words},
                          words * sizeof(ethtool_get_features_block));
  u64 on = 0;
  for (u32 i = 0; i < count; ++i) {
    ethtool_get_features_block block;
    std::memcpy(&block, blocks.data() + i / 32 * sizeof block, sizeof block);
    if (!(block.active & (1u << (i % 32)))) continue;
    const std::string_view feature = reinterpret_cast<const char*>(names.data()) + i * ETH_GSTRING_LEN;
    if (feature == "tx-checksum-ip-generic") on |= kCsum;
    if (feature == "tx-tcp-segmentation") on |= kTso4;
    if (feature == "tx-tcp6-segmentation") on |= kTso6;
    if (feature == "tx-tcp-ecn-segmentation") on |= kEcn;
    if (feature == "tx-udp-segmentation") on |= kUso4 | kUso6;
  }
  return on;
}

TEST_CASE("[case 82] tap: for each subset of the offloads, the host's features are that subset") {
  const Network network;
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  const std::array<u64, 5> offloads = {kCsum, kTso4, kTso6, kEcn, kUso4 | kUso6};
  for (u32 subset = 0; subset < 32; ++subset) {
    u64 features = 0;
    for (u32 i = 0; i < offloads.size(); ++i)
      if (subset & (1u << i)) features |= offloads[i];
    u64 expected = features & tap->offloads();
    if (!(features & kCsum)) expected = 0;  // which all others build upon
    if (!(features & (kTso4 | kTso6))) expected &= ~kEcn;
    REQUIRE(tap->set_offloads(features));
    CAPTURE(subset);
    CHECK(shown_features(network, "t0") == expected);
  }
}

TEST_CASE("tap: queues are attached while their pairs are in use") {
  const Network network;
  const auto tap = opened({.kind = kTap, .tap = "t0", .queues = 2});
  FakeIo io;
  REQUIRE(tap->set_pairs(1));
  REQUIRE(tap->set_pairs(1));
  REQUIRE(tap->set_pairs(2));
  REQUIRE(tap->set_pairs(1));
}

// Sends a frame, and notes how that ended.
Task<> send_and_tell(Tap& end, Io& io, const std::vector<u8>& frame, i32& result) {
  const iovec whole{const_cast<u8*>(frame.data()), frame.size()};
  const std::span<const iovec> parts(&whole, 1);
  const i32 sent = co_await end.send(io, 0, parts);
  result = sent;
}

TEST_CASE("tap: a frame that must wait goes out later") {
  const Network network;
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  FakeIo io;
  TaskScope tasks;
  i32 result = 1;
  const std::vector<u8> bytes(72);
  tasks.spawn(send_and_tell(*tap, io, bytes, result));
  io.finish(0, -EAGAIN);
  REQUIRE(io.size() == 1);
  CHECK(io.pending(0).kind == Op::Kind::kPoll);
  CHECK(io.pending(0).flags == POLLOUT);
  io.finish(0, POLLOUT);
  CHECK(io.bytes_of(0) == bytes);
  io.finish(0, 72);
  CHECK(result == 72);
  tasks.spawn(send_and_tell(*tap, io, bytes, result));
  io.finish(0, -EAGAIN);
  io.finish(0, POLLERR);
  CHECK(result == -EIO);
}

TEST_CASE("tap: frames that must wait keep their order, and one waits for all") {
  const Network network;
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  FakeIo io;
  TaskScope tasks;
  std::array<i32, 3> results{1, 1, 1};
  const std::vector<u8> first(61), second(62), third(63);
  tasks.spawn(send_and_tell(*tap, io, first, results[0]));
  tasks.spawn(send_and_tell(*tap, io, second, results[1]));
  io.finish(0, -EAGAIN);
  io.finish(0, -EAGAIN);
  tasks.spawn(send_and_tell(*tap, io, third, results[2]));
  REQUIRE(io.size() == 1);
  CHECK(io.pending(0).kind == Op::Kind::kPoll);
  io.finish(0, POLLOUT);
  REQUIRE(io.size() == 1);
  CHECK(io.bytes_of(0) == first);
  io.finish(0, 61);
  REQUIRE(io.size() == 2);
  CHECK(io.bytes_of(0) == second);
  CHECK(io.bytes_of(1) == third);
  io.finish(0, -EAGAIN);
  io.finish(0, -EAGAIN);
  REQUIRE(io.size() == 1);
  io.finish(0, POLLOUT);
  CHECK(io.bytes_of(0) == second);
  io.finish(0, 62);
  CHECK(io.bytes_of(0) == third);
  io.finish(0, 63);
  CHECK(results == std::array<i32, 3>{61, 62, 63});
}

TEST_CASE("tap: frames that wait end with a reset") {
  const Network network;
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  FakeIo io;
  TaskScope tasks;
  std::array<i32, 2> results{1, 1};
  const std::vector<u8> bytes(72);
  for (i32& result : results) tasks.spawn(send_and_tell(*tap, io, bytes, result));
  for (int i = 0; i < 2; ++i) io.finish(0, -EAGAIN);
  while (!io.empty()) io.finish(0, -ECANCELED);
  CHECK(results == std::array<i32, 2>{-ECANCELED, -ECANCELED});
}

// A ring that runs one coroutine.
struct Loop {
  Loop() : uring(std::move(*Uring::create())) {}
  void run(Task<> task) {
    const auto then_stop = [](Uring& ring, Task<> inner) -> Task<> {
      co_await std::move(inner);
      ring.stop();
    };
    tasks.spawn(then_stop(*uring, std::move(task)));
    uring->run();
    uring->drain();
  }
  std::unique_ptr<Uring> uring;
  TaskScope tasks;
};

// Whoever is on the other side of the tap.
Fd packet_socket(const Network& network, const char* name) {
  Fd socket(::socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = network.ask(SIOCGIFINDEX, name).ifr_ifindex;
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

std::vector<u8> test_frame(u8 number) {
  std::vector<u8> bytes(60, number);
  std::fill_n(bytes.begin(), 6, 0xff);
  bytes[12] = 0x88;  // a type that nobody serves
  bytes[13] = 0xb5;
  return bytes;
}

TEST_CASE("tap: frames go through the host's kernel in both directions") {
  const Network network;
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  const Fd other = packet_socket(network, "t0");
  Loop loop;
  std::vector<u8> received(100);
  const auto exchange = [](Tap& end, Io& io, int peer, std::vector<u8>& buffer) -> Task<> {
    virtio_net_hdr_v1 header{};
    std::vector<u8> bytes = test_frame(1);
    const std::array<iovec, 2> frame = {{{&header, sizeof header}, {bytes.data(), bytes.size()}}};
    const std::span<const iovec> list(frame);
    const i32 sent = co_await end.send(io, 0, list);
    CHECK(sent == 72);
    bytes = test_frame(2);
    CHECK(::send(peer, bytes.data(), bytes.size(), 0) == 60);
    const i32 ready = co_await end.readable(io, 0);
    CHECK(ready >= 0);
    for (;;) {  // the kernel may have sent something of its own
      const iovec whole{buffer.data(), buffer.size()};
      const i32 got = end.receive(io, 0, {&whole, 1});
      if (got < 0 || buffer[12 + 12] == 0x88) break;
    }
  };
  loop.run(exchange(*tap, *loop.uring, other.get(), received));
  received.resize(72);
  CHECK(std::vector<u8>(received.begin() + 12, received.end()) == test_frame(2));
  bool found = false;
  std::vector<u8> seen(100);
  while (::recv(other.get(), seen.data(), seen.size(), MSG_DONTWAIT) > 0) {
    found |= std::equal(seen.begin(), seen.begin() + 60, test_frame(1).begin());
  }
  CHECK(found);
}

TEST_CASE("[case 81] tap: one that is down takes no frames, and one that is deleted says so") {
  const Network network;
  make_tap("t0");
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  Loop loop;
  i32 down = 0, gone = 0, read = 0;
  const auto attempt = [](Tap& end, Io& io, i32& while_down, i32& when_gone, i32& received) -> Task<> {
    std::vector<u8> bytes(72, 0);
    const iovec whole{bytes.data(), bytes.size()};
    const std::span<const iovec> list(&whole, 1);
    const i32 first = co_await end.send(io, 0, list);
    while_down = first;
    CHECK(std::system("ip link del t0") == 0);
    const i32 second = co_await end.send(io, 0, list);
    when_gone = second;
    const i32 ready = co_await end.readable(io, 0);
    received = ready < 0 ? ready : end.receive(io, 0, list);
  };
  loop.run(attempt(*tap, *loop.uring, down, gone, read));
  CHECK(down == -EIO);
  CHECK(gone < 0);
  CHECK(gone != -EAGAIN);
  CHECK(read < 0);
  CHECK(read != -EAGAIN);
}

// A listener that lets one coroutine go on when the link has changed.
struct LinkListener final : NetLinkListener {
  explicit LinkListener(Tap& tap) : end(tap) { end.set_link_listener(this); }
  ~LinkListener() { end.set_link_listener(nullptr); }
  void link_changed() override {
    seen.push_back(end.link_up());
    changed.resume_one();
  }
  Tap& end;
  std::vector<bool> seen;
  WaitList changed;
};

TEST_CASE("[case 81] tap: the link is that of the interface, whatever its name is by then") {
  const Network network;
  make_tap("t0");
  const auto tap = opened({.kind = kTap, .tap = "t0"});
  CHECK_FALSE(tap->link_up());
  LinkListener listener(*tap);
  Loop loop;
  OpGroup watching(*loop.uring);
  loop.tasks.spawn(tap->watch_link(watching));
  const auto change = [](LinkListener& link, OpGroup& watch) -> Task<> {
    for (const char* const command : {"ip link set t0 up", "ip link set t0 down", "ip link set t0 name t1",
                                      "ip link set t1 up", "ip link del t1"}) {
      const std::size_t before = link.seen.size();
      CHECK(std::system(command) == 0);
      const bool is_renamed = std::string_view(command).ends_with("name t1");
      if (!is_renamed && link.seen.size() == before) co_await link.changed.wait();
    }
    watch.cancel_all();
  };
  loop.run(change(listener, watching));
  CHECK(listener.seen == std::vector<bool>{true, false, true, false});
}

TEST_CASE("tap: an MTU for the guest that is more than the interface's is warned of") {
  const Network network;
  make_tap("t0");
  std::string said;
  Log log([&](LogLevel, std::string_view line) { said += line; }, LogLevel::kWarning);
  REQUIRE(Tap::open({.kind = kTap, .tap = "t0", .mtu = 1500}, 1, log));
  CHECK(said.find("mtu") == std::string::npos);
  REQUIRE(Tap::open({.kind = kTap, .tap = "t0", .mtu = 9000}, 1, log));
  CHECK(said.find("net t0: mtu: 9000, but the interface has 1500") != std::string::npos);
}

TEST_CASE("tap: one that is inherited is known by its interface's name, and takes any address") {
  const Network network;
  const Fd fd = open_tap("t0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  const auto tap = opened({.kind = kFds, .fds = {fd.get()}});
  CHECK(tap->interface() == "t0");
  CHECK_FALSE(tap->only_mac());
}

// The character device of the macvtap with that name.
Fd open_macvtap(const std::string& name) {
  std::ifstream devices("/proc/devices");
  std::string word, before;
  while (devices >> word && word != "macvtap") before = word;
  const std::string path = "/tmp/uvmm-macvtap." + std::to_string(::getpid());
  for (unsigned minor = 1; minor < 100; ++minor) {
    if (::mknod(path.c_str(), S_IFCHR | 0600, makedev(std::strtoul(before.c_str(), nullptr, 10), minor)) < 0)
      skip("device nodes are not for us here");
    Fd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
    ::unlink(path.c_str());
    ifreq request{};
    if (fd && ::ioctl(fd.get(), TUNGETIFF, &request) == 0 && request.ifr_name == name) return fd;
  }
  skip("the macvtap is not to be found");
}

TEST_CASE("tap: a macvtap has the one address that it gets frames for") {
  const Network network;
  if (std::system("ip link add v0 type veth && ip link add link v0 name m0 address 52:54:00:00:00:09 type "
                  "macvtap 2>/dev/null") != 0)
    skip("the host has no macvtap");
  const Fd fd = open_macvtap("m0");
  std::string said;
  Log log([&](LogLevel, std::string_view line) { said += line; }, LogLevel::kWarning);
  constexpr MacAddress kOwn = {0x52, 0x54, 0, 0, 0, 9}, kOther = {0x52, 0x54, 0, 0, 0, 8};
  const auto tap = Tap::open({.kind = kFds, .fds = {fd.get()}, .mac = kOwn}, 1, log);
  REQUIRE(tap);
  CHECK((*tap)->only_mac() == kOwn);
  CHECK(said.empty());
  REQUIRE(Tap::open({.kind = kFds, .fds = {fd.get()}, .mac = kOther}, 1, log));
  CHECK(said == "net m0: mac= is not its address, 52:54:00:00:00:09, to which alone frames come");
}

}  // namespace
}  // namespace uvmm
