// SPDX-License-Identifier: Apache-2.0
// Vsock over real Unix sockets and the real io_uring, between a guest's driver and host programs that never
// wait: these tests need a kernel that allows it. With UVMM_TEST_FULL there is more of everything.
#include <sha256.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <list>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/fakes/heap.h"
#include "tests/fakes/vsock_fixture.h"
#include "vmm/base/uring.h"

namespace uvmm {
namespace {

// What one side sends and receives.
struct Ends {
  Ends() {
    ::SHA256Init(&out);
    ::SHA256Init(&in);
  }
  static std::string text(SHA2_CTX hash) {
    char text[SHA256_DIGEST_STRING_LENGTH] = {};
    return ::SHA256End(&hash, text);
  }
  void sent(std::span<const u8> bytes) {
    ::SHA256Update(&out, bytes.data(), bytes.size());
    to_send -= bytes.size();
  }
  void got(std::span<const u8> bytes) {
    ::SHA256Update(&in, bytes.data(), bytes.size());
    received += bytes.size();
  }

  u64 to_send = 0;
  u64 received = 0;
  bool said_all = false;
  bool heard_all = false;  // the other side sends no more
  SHA2_CTX out, in;
};

const std::vector<u8>& noise() {
  static const std::vector<u8> bytes = [] {
    std::mt19937 random(1);
    std::vector<u8> made(1_MiB + 17);
    for (u8& byte : made) byte = static_cast<u8>(random());
    return made;
  }();
  return bytes;
}
std::span<const u8> some_noise(u64 at, u64 most) {
  return std::span(noise())
      .subspan(at % noise().size())
      .first(std::min(most, noise().size() - at % noise().size()));
}

using Ports = std::pair<u32, u32>;  // the guest's, the host's

struct GuestSocket : Ends {
  bool open = false;
  bool reads = true;
  u32 peer_alloc = 0, peer_fwd = 0, sent_count = 0;
  u32 told = 0;
  u32 room() const { return peer_alloc - (sent_count - peer_fwd); }
};

// The driver, which keeps to its credit and the device to its own.
class Guest {
 public:
  static constexpr u32 kWindow = 256_KiB;
  static constexpr u32 kReceiveBytes = 4096 + sizeof(virtio_vsock_hdr);
  static constexpr u32 kSendBytes = 16_KiB;

  Guest() {
    for (u32 i = 0; i < 64; ++i) offer_receive(ram.allocate(kReceiveBytes));
    for (u32 i = 0; i < 24; ++i) free_.push_back(ram.allocate(kSendBytes + sizeof(virtio_vsock_hdr)));
    device.start(feature(VIRTIO_VSOCK_F_SEQPACKET));
  }

  // Turns the ring until `step()`, which is asked in each turn, says that all is done.
  template <typename Step>
  void run(Step step) {
    TaskScope tasks;
    tasks.spawn(device.run(rx.queue, Vsock::kReceiveQueue));
    tasks.spawn(device.run(tx.queue, Vsock::kTransmitQueue));
    tasks.spawn(drive(step));
    uring->run();
    rx.queue.stop();
    tx.queue.stop();
    device.io().cancel_all();
    device.stop();
    uring->turn_until([&] { return tasks.empty() && device.io().idle(); });
    uring->drain();
    CHECK(device.connections() == 0);
  }

  GuestSocket& connect(Ports ports) {
    say(ports, VIRTIO_VSOCK_OP_REQUEST);
    return sockets[ports];
  }
  void say(Ports ports, u16 op, u32 flags = 0) { due_.push_back({ports, op, flags}); }
  void reset(Ports ports) {
    say(ports, VIRTIO_VSOCK_OP_RST);
    sockets.erase(ports);
  }

  std::map<Ports, GuestSocket> sockets;
  u64 ended = 0;  // by a reset of either side

  VsockDirectory directory;
  const std::string path = directory.path + "/s";
  Log log;
  std::unique_ptr<Uring> uring = std::move(*Uring::create(256));
  std::unique_ptr<VsockHost> host = *VsockHost::open(path);
  Vsock device{*uring, *host, VsockFixture::kCid, log};
  FakeRam ram;
  FakeDriver receiver{ram, 64};
  FakeDriver transmitter{ram, 32};
  FakeQueue rx{device.io(), receiver};
  FakeQueue tx{device.io(), transmitter};

 private:
  struct Due {
    Ports ports;
    u16 op;
    u32 flags;
  };

  template <typename Step>
  Task<> drive(Step& step) {
    bool done = false;
    while (!done) {
      co_await uring->yield();
      receive();
      transmit();
      done = step();
    }
    uring->stop();
  }

  void offer_receive(GuestAddress at) { receiver.chain().writes_at(address(at), kReceiveBytes).offer(); }

  void receive() {
    while (const auto used = receiver.take_used()) {
      const GuestAddress at = guest(receiver.descriptor(static_cast<u16>(used->id)).addr);
      const auto header = receiver.field<virtio_vsock_hdr>(at);
      take(header, receiver.bytes(at + sizeof header, header.len));
      offer_receive(at);
    }
    rx.queue.notify();
  }

  void take(const virtio_vsock_hdr& header, std::span<const u8> data) {
    const Ports ports{header.dst_port, header.src_port};
    if (header.op == VIRTIO_VSOCK_OP_REQUEST) {
      sockets[ports].open = true;
      say(ports, VIRTIO_VSOCK_OP_RESPONSE);
    }
    const auto found = sockets.find(ports);
    if (found == sockets.end()) return;  // has been reset
    GuestSocket& socket = found->second;
    if (header.op != VIRTIO_VSOCK_OP_RST) {  // which has no credit
      socket.peer_alloc = header.buf_alloc;
      socket.peer_fwd = header.fwd_cnt;
      REQUIRE(socket.sent_count - socket.peer_fwd <= VsockCredit::kWindow);
    }
    if (header.op == VIRTIO_VSOCK_OP_RESPONSE) socket.open = true;
    if (header.op == VIRTIO_VSOCK_OP_SHUTDOWN) {
      socket.heard_all |= (header.flags & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
      if (header.flags == kVsockShutdownBoth) say(ports, VIRTIO_VSOCK_OP_RST);
    }
    if (header.op == VIRTIO_VSOCK_OP_RW) {
      socket.got(data);
      REQUIRE(static_cast<u32>(socket.received) - socket.told <= kWindow);
      if (socket.reads && static_cast<u32>(socket.received) - socket.told >= kWindow / 4)
        say(ports, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    }
    const bool ends = header.op == VIRTIO_VSOCK_OP_RST ||
                      (header.op == VIRTIO_VSOCK_OP_SHUTDOWN && header.flags == kVsockShutdownBoth);
    if (!ends) return;
    ++ended;
    last_ended = std::move(socket);
    sockets.erase(found);
  }

  void transmit() {
    while (const auto used = transmitter.take_used())
      free_.push_back(guest(transmitter.descriptor(static_cast<u16>(used->id)).addr));
    for (; !due_.empty() && !free_.empty(); due_.pop_front()) send(due_.front(), {});
    for (auto& [ports, socket] : sockets) {
      while (socket.open && socket.to_send > 0 && socket.room() > 0 && !free_.empty()) {
        const auto bytes =
            some_noise(socket.to_send, std::min<u64>({kSendBytes, socket.room(), socket.to_send}));
        socket.sent_count += static_cast<u32>(bytes.size());
        socket.sent(bytes);
        send({ports, VIRTIO_VSOCK_OP_RW, 0}, bytes);
      }
      if (!socket.open || socket.to_send > 0 || std::exchange(socket.said_all, true)) continue;
      say(ports, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
    }
    tx.queue.notify();
  }

  void send(const Due& due, std::span<const u8> data) {
    virtio_vsock_hdr header{.src_cid = VsockFixture::kCid,
                            .dst_cid = VMADDR_CID_HOST,
                            .src_port = due.ports.first,
                            .dst_port = due.ports.second,
                            .len = static_cast<u32>(data.size()),
                            .type = VIRTIO_VSOCK_TYPE_STREAM,
                            .op = due.op,
                            .flags = due.flags,
                            .buf_alloc = kWindow};
    if (const auto found = sockets.find(due.ports); found != sockets.end() && found->second.reads)
      header.fwd_cnt = found->second.told = static_cast<u32>(found->second.received);
    const GuestAddress at = free_.back();
    free_.pop_back();
    transmitter.field<virtio_vsock_hdr>(at) = header;
    if (!data.empty()) std::memcpy(&transmitter.field<u8>(at + sizeof header), data.data(), data.size());
    transmitter.chain().reads_at(address(at), static_cast<u32>(sizeof header + data.size())).offer();
  }

 public:
  GuestSocket last_ended;

 private:
  std::vector<GuestAddress> free_;
  std::deque<Due> due_;
};

// A program of the host.
struct HostSocket : Ends {
  explicit HostSocket(Fd socket) : fd(std::move(socket)) {}

  void step() {
    while (to_send > 0) {
      const ssize_t done =
          ::send(fd.get(), some_noise(to_send, std::min<u64>(to_send, 64_KiB)).data(),
                 some_noise(to_send, std::min<u64>(to_send, 64_KiB)).size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (done <= 0) break;
      sent(some_noise(to_send, static_cast<u64>(done)));
    }
    if (to_send == 0 && !std::exchange(said_all, true)) ::shutdown(fd.get(), SHUT_WR);
    static std::vector<u8> bytes(256_KiB);
    while (reads && !heard_all) {
      const ssize_t done = ::recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (done > 0) got(std::span(bytes).first(static_cast<u64>(done)));
      if (done < 0 && errno == EAGAIN) break;
      heard_all = done <= 0;
    }
  }

  Fd fd;
  bool reads = true;
};

Fd listen_at(const std::string& path) {
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(name.sun_path, path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  REQUIRE(::listen(fd.get(), 4096) == 0);
  return fd;
}

Fd accept_at(const Fd& listener) {
  return Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

TEST_CASE("vsock end to end: bytes in both directions at once arrive as they were sent") {
  const u64 bytes = sized(8_MiB, 1024_MiB);
  Guest guest;
  const Fd listener = listen_at(guest.path + "_52");
  GuestSocket& inside = guest.connect({1024, 52});
  inside.to_send = bytes;
  std::optional<HostSocket> outside;
  guest.run([&] {
    if (!outside) {
      Fd fd = accept_at(listener);
      if (fd) outside.emplace(std::move(fd)).to_send = bytes + 1;
    } else {
      outside->step();
    }
    return outside && outside->heard_all && outside->said_all && (guest.ended > 0 || inside.heard_all);
  });
  const GuestSocket& end = guest.ended > 0 ? guest.last_ended : inside;
  CHECK(outside->received == bytes);
  CHECK(end.received == bytes + 1);
  CHECK(Ends::text(outside->in) == Ends::text(end.out));
  CHECK(Ends::text(end.in) == Ends::text(outside->out));
}

TEST_CASE("vsock end to end: one that does not read holds up no other, in either direction") {
  const u64 bytes = sized(4_MiB, 256_MiB);
  Guest guest;
  const Fd listener = listen_at(guest.path + "_52");
  std::vector<HostSocket> outside;
  const auto accept = [&] {
    Fd fd = accept_at(listener);
    if (fd) outside.emplace_back(std::move(fd)).to_send = bytes;
  };
  for (const u32 port : {1, 2}) guest.connect({port, 52}).to_send = bytes;
  guest.sockets[{1, 52}].reads = false;
  guest.run([&] {
    accept();
    if (!outside.empty()) outside[0].reads = false;  // the guest's requests are taken in order
    for (HostSocket& socket : outside) socket.step();
    return outside.size() == 2 && outside[1].heard_all &&
           (guest.ended > 0 || guest.sockets[{2, 52}].heard_all);
  });
  CHECK(outside[1].received == bytes);
  CHECK(guest.sockets[{1, 52}].received <= Guest::kWindow);
  CHECK(bytes - guest.sockets[{1, 52}].to_send <= VsockCredit::kWindow + 512_KiB);  // a socket's buffer
}

TEST_CASE("vsock end to end: connections end in any way amid their data, and leave nothing behind") {
  const u64 most = sized(3000, 100'000);
  constexpr u64 kAtATime = 48;
  Guest guest;
  const Fd listener = listen_at(guest.path + "_52");
  std::mt19937 random(7);
  std::list<HostSocket> outside;
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  guest.path.copy(name.sun_path, sizeof name.sun_path - 1);
  u64 made = 0;
  u32 port = 1;
  guest.run([&] {
    for (; made < most && outside.size() + guest.sockets.size() < kAtATime; ++made) {
      if (random() % 2) {
        guest.connect({port++, random() % 8 ? 52u : 53u}).to_send =
            random() % 20'000;  // nobody listens at 53
      } else {
        Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        // More wait already than may: those that died while they did.
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0 && errno == EAGAIN)
          break;
        const std::string line = fmt::format("CONNECT {}\n", random() % 1000);
        REQUIRE(::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(line.size()));
        outside.emplace_back(std::move(fd)).to_send = random() % 20'000;
      }
    }
    while (Fd fd = accept_at(listener)) outside.emplace_back(std::move(fd)).to_send = random() % 20'000;
    for (auto socket = outside.begin(); socket != outside.end();) {
      socket->step();
      const bool dies = random() % 16 == 0 || (socket->heard_all && socket->said_all);
      socket = dies ? outside.erase(socket) : std::next(socket);
    }
    std::vector<Ports> dying;
    for (auto& [ports, socket] : guest.sockets)
      if (socket.open && random() % 16 == 0) dying.push_back(ports);
    for (const Ports& ports : dying) {
      if (random() % 2) {
        guest.reset(ports);
      } else {
        guest.say(ports, VIRTIO_VSOCK_OP_SHUTDOWN, 1 + random() % 3);
      }
    }
    return made == most && guest.device.connections() == 0 && outside.empty();
  });
}

}  // namespace
}  // namespace uvmm
