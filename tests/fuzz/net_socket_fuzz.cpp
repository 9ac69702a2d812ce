// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the ends of a network device that are sockets: one of messages (NetSocket), and the stream
// that passt speaks (FrameStream). The input is a small program: frames come, as wrong as the other side
// likes, and go, in buffers of any borders. Whatever happens: what comes out are the frames that went in, in
// order, behind their header, cut off only where the buffers end; and nothing else is written to.
#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "devices/frame_stream.h"
#include "devices/net_socket.h"
#include "tests/fakes/fake_io.h"
#include "tests/fuzz/fuzz.h"

using namespace uvmm;

namespace {

using Bytes = std::vector<u8>;

constexpr u8 kUntouched = 0xee;
constexpr u64 kHeaderBytes = NetEnd::kHeaderBytes;

Bytes some_frame(FuzzedDataProvider& input, u64 longest) {
  const u64 most = input.ConsumeIntegralInRange(0, 7) < 7 ? 2000 : longest;
  Bytes frame(input.ConsumeIntegralInRange<u64>(0, most));
  u8 byte = input.ConsumeIntegral<u8>();
  for (u8& each : frame) each = byte++;
  return frame;
}

std::pair<Fd, Fd> socket_pair(int type) {
  std::array<int, 2> ends{};
  require(::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

// Buffers of any borders, with room for a header at least.
class Buffers {
 public:
  explicit Buffers(FuzzedDataProvider& input) {
    const int count = input.ConsumeIntegralInRange(1, 5);
    for (int i = 0; i < count; ++i) {
      const u64 most = input.ConsumeBool() ? 20 : 70'000;
      u64 bytes = input.ConsumeIntegralInRange<u64>(0, most);
      if (i == count - 1 && room_ + bytes < kHeaderBytes) bytes = kHeaderBytes;
      pieces_.emplace_back(bytes, kUntouched);
      iovecs_.push_back({pieces_.back().data(), bytes});
      room_ += bytes;
    }
  }

  std::span<const iovec> iovecs() const { return iovecs_; }
  u64 room() const { return room_; }

  // There are `header` and as much of `frame` as there is room for, and nothing else.
  void check(Bytes expected, const Bytes& frame) const {
    expected.insert(expected.end(), frame.begin(), frame.end());
    expected.resize(std::min<u64>(expected.size(), room_));
    expected.resize(room_, kUntouched);
    Bytes found;
    for (const Bytes& piece : pieces_) found.insert(found.end(), piece.begin(), piece.end());
    require(found == expected);
  }
  void check_untouched() const { check({}, {}); }

 private:
  std::vector<Bytes> pieces_;
  std::vector<iovec> iovecs_;
  u64 room_ = 0;
};

struct Messages {
  Messages(FuzzedDataProvider& choices, FakeRam&) : input(choices), datagrams(input.ConsumeBool()) {
    const auto [theirs, ours] = socket_pair(datagrams ? SOCK_DGRAM : SOCK_SEQPACKET);
    end = *NetSocket::open({.kind = NetConfig::Kind::kSocket, .fds = {theirs.get()}});
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 5)) {
      case 0:
        io.found_now.push_back({.bytes = some_frame(input, 70'000)});
        break;
      case 1:
        io.found_now.push_back({.error = input.ConsumeBool() ? -ECONNREFUSED : -EAGAIN});
        break;
      case 2:
        receive();
        break;
      case 3:
        if (sent.size() < 16) tasks.spawn(send(some_frame(input, 70'000), input.ConsumeIntegral<u8>()));
        break;
      default:
        if (!io.empty()) end_one();
        break;
    }
    check_sending();
  }

  void finish() {
    while (!io.empty()) io.finish_all(-ECANCELED);
    require(tasks.empty() && sent.empty());
  }

 private:
  void receive() {
    const Buffers buffers(input);
    const bool found = !io.found_now.empty();
    const FakeIo::Found next = found ? io.found_now.front() : FakeIo::Found{.error = -EAGAIN};
    const i32 got = end->receive(io, 0, buffers.iovecs());
    if (got >= 0) {
      require(!next.bytes.empty());
      require(static_cast<u64>(got) == std::min(buffers.room(), kHeaderBytes + next.bytes.size()));
      return buffers.check(Bytes(kHeaderBytes), next.bytes);
    }
    if (next.error != 0) return require(got == next.error);
    const bool ended = got == -ENOTCONN && !datagrams;
    // Nor does one begin where a header alone fills the buffers.
    require(next.bytes.empty() ? ended || got == -EAGAIN : buffers.room() == kHeaderBytes);
  }

  Task<> send(Bytes frame, u64 border) {
    Bytes header(kHeaderBytes, 0x11);
    border = std::min<u64>(border, frame.size());
    const std::array<iovec, 3> parts = {iovec{header.data(), header.size()}, iovec{frame.data(), border},
                                        iovec{frame.data() + border, frame.size() - border}};
    const std::span<const iovec> all(parts);
    sent.push_back(frame);
    co_await end->send(io, 0, all);
    require(sent.front() == frame);
    sent.pop_front();
  }

  void end_one() {
    static constexpr i32 kErrors[] = {-EAGAIN, -EINTR, -EPIPE, -ECONNREFUSED, -EMSGSIZE, -ECANCELED};
    const u32 i = input.ConsumeIntegralInRange<u32>(0, io.size() - 1);
    const bool fails = input.ConsumeBool();
    io.finish(i, fails ? input.PickValueInArray(kErrors) : 1);
  }

  // One frame at a time is on its way: the oldest.
  void check_sending() const {
    require(io.size() <= 1);
    require(io.empty() == sent.empty());
    if (!io.empty() && io.pending(0).kind == Op::Kind::kSendmsg) require(io.bytes_of(0) == sent.front());
  }

  FuzzedDataProvider& input;
  const bool datagrams;
  FakeIo io;
  std::unique_ptr<NetEnd> end;
  std::deque<Bytes> sent;  // that have not ended
  TaskScope tasks;
};

struct Stream {
  Stream(FuzzedDataProvider& choices, FakeRam&) : input(choices) {
    auto [theirs, ours] = socket_pair(SOCK_STREAM);
    const int small = 8 << 10;  // so that frames go in parts
    ::setsockopt(theirs.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    stream.emplace(std::move(theirs));
    other = std::move(ours);
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0:
        put_on_wire(some_frame(input, FrameStream::kMostFrameBytes));
        break;
      case 1:
        if (input.ConsumeIntegralInRange(0, 15) == 15) break_wire();
        break;
      case 2:
        arrive(input.ConsumeBool() ? input.ConsumeIntegralInRange<u64>(0, 8) : 100'000);
        break;
      case 3:
      case 4:
        receive();
        break;
      case 5:
        send();
        break;
      case 6:
        stream->flush();
        break;
      default:
        take(input.ConsumeIntegralInRange<u64>(0, 20'000));
        break;
    }
  }

  void finish() {
    while (stream->backlog() || !sent.empty()) {
      require(stream->flush() == 0 || !sent.empty());
      take(100'000);
    }
  }

 private:
  void put_on_wire(const Bytes& frame) {
    if (wire.size() > 200'000) return;
    const auto length = static_cast<u32>(frame.size());
    for (const int shift : {24, 16, 8, 0}) wire.push_back(static_cast<u8>(length >> shift));
    wire.insert(wire.end(), frame.begin(), frame.end());
    if (broken) return;
    end_of_last += FrameStream::kLengthBytes + length;
    if (length > 0) coming.push_back({frame, end_of_last});
  }
  // A length that no frame has: what follows means nothing.
  void break_wire() {
    const u32 most = FrameStream::kMostFrameBytes;
    const u32 length = input.ConsumeIntegralInRange<u32>(most + 1, ~u32{0});
    for (const int shift : {24, 16, 8, 0}) wire.push_back(static_cast<u8>(length >> shift));
    if (!broken) end_of_last += FrameStream::kLengthBytes;
    broken = true;
  }

  void arrive(u64 bytes) {
    const ssize_t gone = ::send(other.get(), wire.data(), std::min<u64>(bytes, wire.size()), MSG_DONTWAIT);
    if (gone <= 0) return;
    arrived += static_cast<u64>(gone);
    wire.erase(wire.begin(), wire.begin() + gone);
  }

  void receive() {
    const Buffers buffers(input);
    const Bytes header(input.ConsumeBool() ? kHeaderBytes : 0, 0x22);
    const i32 got = stream->receive(buffers.iovecs(), header);
    if (got < 0) {
      buffers.check_untouched();
      if (got == -EPROTO) return require(broken && coming.empty());
      require(got == -EAGAIN);
      return require(coming.empty() || arrived < coming.front().end);
    }
    require(!coming.empty());
    const Bytes frame = std::move(coming.front().bytes);
    require(arrived >= coming.front().end);
    coming.pop_front();
    require(static_cast<u64>(got) == std::min(buffers.room(), header.size() + frame.size()));
    buffers.check(header, frame);
  }

  void send() {
    Bytes frame = some_frame(input, FrameStream::kMostFrameBytes + 2);
    const u64 skipped = input.ConsumeIntegralInRange<u64>(0, 12);
    const u64 border = std::min<u64>(input.ConsumeIntegral<u8>(), frame.size());
    const std::array<iovec, 2> parts = {iovec{frame.data(), border},
                                        iovec{frame.data() + border, frame.size() - border}};
    const bool backlog = stream->backlog();
    const i32 done = stream->send(parts, skipped);
    require(!backlog || done == -EAGAIN);
    const u64 bytes = frame.size() > skipped ? frame.size() - skipped : 0;
    const bool is_frame = bytes > 0 && bytes <= FrameStream::kMostFrameBytes;
    if (done < 0) return require(done == -EAGAIN || (done == -EMSGSIZE && !is_frame));
    require(done == 0 && is_frame);
    for (const int shift : {24, 16, 8, 0}) sent.push_back(static_cast<u8>(bytes >> shift));
    sent.insert(sent.end(), frame.begin() + static_cast<std::ptrdiff_t>(skipped), frame.end());
  }

  void take(u64 bytes) {
    Bytes buffer(bytes);
    const ssize_t got = ::recv(other.get(), buffer.data(), bytes, MSG_DONTWAIT);
    if (got <= 0) return;
    require(static_cast<u64>(got) <= sent.size());
    require(std::equal(buffer.begin(), buffer.begin() + got, sent.begin()));
    sent.erase(sent.begin(), sent.begin() + got);
  }

  struct Coming {
    Bytes bytes;
    u64 end;  // where on the wire
  };

  FuzzedDataProvider& input;
  std::optional<FrameStream> stream;
  Fd other;
  std::vector<u8> wire;  // what the other side has yet to send
  u64 end_of_last = 0, arrived = 0;
  bool broken = false;
  std::deque<Coming> coming;
  std::deque<u8> sent;  // and not come to the other side
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] & 1) {
    run_program<Messages>(data + 1, size - 1);
  } else {
    run_program<Stream>(data + 1, size - 1);
  }
  return 0;
}
