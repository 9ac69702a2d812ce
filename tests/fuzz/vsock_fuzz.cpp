// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a vsock device between a driver that sends any packets and a host that answers anything.
// Whatever happens: what is in flight stays bounded, what the guest receives is well formed, and in the end
// all buffers are back and all connections gone.
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "devices/connect_line.h"
#include "devices/vsock.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

using namespace uvmm;

namespace {

constexpr u16 kRing = 64;
constexpr u32 kCid = 5;

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr u32 kHostPorts = 4;

// At all of the host's ports but one there is a socket.
const VsockHost& host() {
  static const std::string path = fmt::format("/tmp/uvmm-vsock-fuzz.{}", ::getpid());
  static const auto host = *VsockHost::open(path);
  static const std::vector<UnixListener> listeners = [] {
    std::vector<UnixListener> made;
    for (u32 port = 1; port < kHostPorts; ++port)
      made.push_back(*UnixListener::listen(fmt::format("{}_{}", path, port)));
    return made;
  }();
  return *host;
}

struct World {
  World(FuzzedDataProvider& choices, FakeRam& memory)
      : input(choices), ram(memory), device(io, host(), kCid, log) {
    device.start(input.ConsumeBool() ? feature(VIRTIO_VSOCK_F_SEQPACKET) : 0);
    tasks.spawn(device.run(rx.queue, Vsock::kReceiveQueue));
    tasks.spawn(device.run(tx.queue, Vsock::kTransmitQueue));
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 9)) {
      case 0:
      case 1:
        post_buffer();
        break;
      case 2:
      case 3:
      case 4:
      case 5:
        send_packet();
        break;
      default:
        if (!io.empty()) end_one();
        break;
    }
    take_packets();
    while (transmitter.take_used()) continue;
    require(device.connections() <= 64);
    require(io.size() <= 4 + 6 * device.connections());
  }

  void finish() {
    rx.queue.stop();
    tx.queue.stop();
    device.io().cancel_all();
    device.stop();
    io.end_turn();
    for (int i = 0; i < 1000 && !io.empty(); ++i) {
      io.finish_cancelled();
      io.finish_all(-ECANCELED);
    }
    require(io.empty() && tasks.empty() && device.connections() == 0);
    require(rx.queue.chains_out() == 0 && tx.queue.chains_out() == 0);
  }

 private:
  bool full(FakeDriver& driver, Queue& queue) {
    return queue.stopped() || u16(driver.avail_index() - driver.used_index()) + 8 > kRing / 2;
  }

  u64 buffer() {
    switch (input.ConsumeIntegralInRange(0, 15)) {
      case 0:
        return FakeRam::kEnd - input.ConsumeIntegral<u8>();
      case 1:
        return FakeRam::kBoundary - input.ConsumeIntegral<u8>();
      default:
        return FakeRam::kBoundary + input.ConsumeIntegral<u16>() * u64{4};
    }
  }

  void post_buffer() {
    if (full(receiver, rx.queue)) return;
    auto chain = receiver.chain();
    const int pieces = input.ConsumeIntegralInRange(1, 4);
    for (int i = 0; i < pieces; ++i) chain.writes_at(buffer(), input.ConsumeIntegralInRange<u32>(0, 5000));
    if (pieces > 1) chain.indirect();
    chain.offer();
    rx.queue.notify();
    io.end_turn();
  }

  // Ports are few, so that packets meet connections.
  void send_packet() {
    if (full(transmitter, tx.queue)) return;
    virtio_vsock_hdr header{};
    const bool honest = input.ConsumeIntegralInRange(0, 15) > 0;
    header.src_cid = honest ? kCid : input.ConsumeIntegral<u64>();
    header.dst_cid = honest ? 2 : input.ConsumeIntegral<u64>();
    header.src_port = input.ConsumeIntegralInRange<u32>(0, 7);
    header.dst_port = input.ConsumeIntegralInRange<u32>(0, kHostPorts - 1) +
                      (input.ConsumeBool() ? VsockTable::kFirstHostPort : 0);
    header.type = honest ? input.ConsumeIntegralInRange<u16>(1, 2) : input.ConsumeIntegral<u16>();
    header.op = honest ? input.ConsumeIntegralInRange<u16>(1, 7) : input.ConsumeIntegral<u16>();
    header.flags = input.ConsumeIntegral<u8>();
    header.buf_alloc = input.ConsumeBool() ? 256_KiB : input.ConsumeIntegral<u32>();
    header.fwd_cnt = input.ConsumeIntegralInRange<u32>(0, 10'000);
    const u32 bytes = input.ConsumeIntegral<u16>();
    header.len = honest ? bytes : input.ConsumeIntegral<u32>();
    auto chain = transmitter.chain();
    chain.reads(header);
    if (header.op == VIRTIO_VSOCK_OP_RW) chain.reads_at(buffer(), bytes);
    chain.offer();
    if (input.ConsumeBool()) return;  // the doorbell comes with a later one
    tx.queue.notify();
    io.end_turn();
  }

  void take_packets() {
    while (const auto used = receiver.take_used()) {
      require(used->len == 0 || used->len >= sizeof(virtio_vsock_hdr));
      if (used->len > 0) ++packets;
    }
  }

  static constexpr i32 kErrors[] = {-EIO,    -EAGAIN, -ENOMEM,  -EINTR,        -EPIPE,     -ECONNRESET,
                                    -EMFILE, -EBADF,  -ENOBUFS, -ECONNREFUSED, -ECANCELED, 0};

  // What the next read of a stream finds.
  void offer_bytes() {
    if (!io.found_now.empty()) return;
    FakeIo::Found found;
    if (input.ConsumeIntegralInRange(0, 7) == 0) {
      found.error = input.PickValueInArray(kErrors);
    } else {
      found.bytes.resize(input.ConsumeIntegralInRange<u32>(0, 70'000), 'x');
    }
    io.found_now.push_back(std::move(found));
  }

  void end_one() {
    const u32 i = input.ConsumeIntegralInRange<u32>(0, io.size() - 1);
    const Op& op = io.pending(i);
    if (op.kind == Op::Kind::kPollMultishot) {
      if (!io.cancelled.empty()) return io.finish_cancelled();
      return io.fire(i, input.ConsumeBool() ? POLLHUP : POLLRDHUP);
    }
    if (input.ConsumeIntegralInRange(0, 7) == 0 && op.kind != Op::Kind::kAccept)
      return io.finish(i, input.PickValueInArray(kErrors));
    switch (op.kind) {
      case Op::Kind::kAccept:
        return io.finish(i, accepted());
      case Op::Kind::kRecvmsg:
        return answer_read(i);
      case Op::Kind::kSend:
      case Op::Kind::kSendmsg:
        require(io.length_of(i) <= VsockCredit::kWindow);
        return io.finish(i, input.ConsumeIntegralInRange(0, static_cast<i32>(io.length_of(i))));
      case Op::Kind::kPoll:
        offer_bytes();
        return io.finish(i, POLLIN | POLLOUT);
      case Op::Kind::kTimeout:
        return io.finish(i, -ETIME);
      default:
        return io.finish(i, 0);
    }
  }

  i32 accepted() {
    if (device.connections() >= 32 || input.ConsumeBool()) return -EMFILE;
    return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  }

  void answer_read(u32 i) {
    const u64 most = io.length_of(i);
    std::string data;
    if (most <= kMostConnectLineBytes && input.ConsumeBool()) {
      data = fmt::format("CONNECT {}\n", input.ConsumeIntegralInRange(0, 7));
    } else if (input.ConsumeBool()) {
      data = input.ConsumeRandomLengthString(64);
    } else {
      data.resize(input.ConsumeIntegralInRange<u64>(0, most), 'x');
    }
    data.resize(std::min<u64>(data.size(), most));
    io.finish_read(i, {reinterpret_cast<const u8*>(data.data()), data.size()});
  }

  FuzzedDataProvider& input;
  FakeRam& ram;
  Log log;
  FakeIo io;
  Vsock device;
  FakeDriver receiver{ram, kRing};
  FakeDriver transmitter{ram, kRing};
  FakeQueue rx{device.io(), receiver};
  FakeQueue tx{device.io(), transmitter};
  TaskScope tasks;
  u64 packets = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 8192) return 0;
  static FakeRam ram;
  ram.recycle();
  FuzzedDataProvider input(data, size);
  World world(input, ram);
  while (input.remaining_bytes() > 0) world.step();
  world.finish();
  return 0;
}
