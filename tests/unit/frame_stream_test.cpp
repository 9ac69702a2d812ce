// SPDX-License-Identifier: Apache-2.0
#include "devices/frame_stream.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

namespace uvmm {
namespace {

using Bytes = std::vector<u8>;

Bytes length_of(u32 bytes) {
  return {static_cast<u8>(bytes >> 24), static_cast<u8>(bytes >> 16), static_cast<u8>(bytes >> 8),
          static_cast<u8>(bytes)};
}

Bytes framed(const Bytes& frame) {
  Bytes bytes = length_of(static_cast<u32>(frame.size()));
  bytes.insert(bytes.end(), frame.begin(), frame.end());
  return bytes;
}

struct Fixture {
  Fixture() {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    stream.emplace(Fd(pair[0]));
    other = Fd(pair[1]);
  }
  void arrive(const Bytes& bytes) {
    REQUIRE(::send(other.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  // The next frame as it comes into one large buffer.
  Bytes receive() {
    Bytes buffer(FrameStream::kMostFrameBytes);
    const iovec whole = {buffer.data(), buffer.size()};
    last = stream->receive({&whole, 1}, {});
    buffer.resize(last < 0 ? 0 : static_cast<std::size_t>(last));
    return buffer;
  }
  i32 send(Bytes frame, u64 skipped = 0) {
    const iovec whole = {frame.data(), frame.size()};
    return stream->send({&whole, 1}, skipped);
  }
  Bytes sent(std::size_t bytes) {
    Bytes buffer(bytes);
    const ssize_t got = ::recv(other.get(), buffer.data(), bytes, MSG_DONTWAIT);
    buffer.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return buffer;
  }

  std::optional<FrameStream> stream;
  Fd other;
  i32 last = 0;
};

TEST_CASE("frame stream: frames that come in one piece are taken one by one") {
  Fixture f;
  Bytes both = framed({1, 2, 3});
  const Bytes second = framed({4, 5});
  both.insert(both.end(), second.begin(), second.end());
  f.arrive(both);
  CHECK(f.receive() == Bytes{1, 2, 3});
  CHECK(f.stream->has_frame());
  CHECK(f.receive() == Bytes{4, 5});
  CHECK_FALSE(f.stream->has_frame());
  f.receive();
  CHECK(f.last == -EAGAIN);
}

TEST_CASE("frame stream: a frame that comes byte by byte is taken when it is whole") {
  Fixture f;
  for (const u8 byte : framed({7, 8, 9})) {
    f.receive();
    CHECK(f.last == -EAGAIN);
    f.arrive({byte});
  }
  CHECK(f.receive() == Bytes{7, 8, 9});
}

TEST_CASE("frame stream: the longest frames pass, through more than a buffer's worth of them") {
  Fixture f;
  for (u8 i = 0; i < 8; ++i) {
    const Bytes frame(FrameStream::kMostFrameBytes, i);
    f.arrive(framed(frame));
    CHECK(f.receive() == frame);
  }
}

TEST_CASE("frame stream: a header goes in front, and what has no room is cut off") {
  Fixture f;
  f.arrive(framed({1, 2, 3, 4, 5}));
  Bytes one(3, 0xee), two(3, 0xee);
  const iovec buffers[] = {{one.data(), one.size()}, {two.data(), two.size()}};
  const Bytes header = {0xa, 0xb};
  CHECK(f.stream->receive(buffers, header) == 6);
  CHECK(one == Bytes{0xa, 0xb, 1});
  CHECK(two == Bytes{2, 3, 4});
  f.arrive(framed({6}));
  CHECK(f.receive() == Bytes{6});
}

TEST_CASE("frame stream: empty frames are passed over") {
  Fixture f;
  f.arrive(length_of(0));
  f.arrive(length_of(0));
  f.arrive(framed({1}));
  CHECK(f.receive() == Bytes{1});
}

TEST_CASE("[case 74] frame stream: a length that no frame has is an error") {
  Fixture f;
  f.arrive(length_of(GENERATE(FrameStream::kMostFrameBytes + 1, 16u << 20, ~0u)));
  f.receive();
  CHECK(f.last == -EPROTO);
}

TEST_CASE("frame stream: the other side's end is told, after what it had sent") {
  Fixture f;
  f.arrive(framed({1}));
  f.arrive({0, 0});
  f.other.reset();
  CHECK(f.receive() == Bytes{1});
  f.receive();
  CHECK(f.last == -EPIPE);
}

TEST_CASE("frame stream: a frame goes out behind its length, without what is skipped") {
  Fixture f;
  Bytes header(12, 0xee), data = {1, 2, 3};
  const iovec parts[] = {{header.data(), 12}, {data.data(), 3}};
  CHECK(f.stream->send(parts, 12) == 0);
  CHECK(f.sent(100) == framed({1, 2, 3}));
  CHECK(f.send({9, 9, 1}, 2) == 0);
  CHECK(f.sent(100) == framed({1}));
}

TEST_CASE("[case 74] frame stream: what is no frame is not sent") {
  Fixture f;
  CHECK(f.send(Bytes(12), 12) == -EMSGSIZE);
  CHECK(f.send({}) == -EMSGSIZE);
  CHECK(f.send(Bytes(FrameStream::kMostFrameBytes + 1)) == -EMSGSIZE);
  CHECK(f.sent(100).empty());
}

TEST_CASE("frame stream: frames to a slow reader arrive whole and in order") {
  Fixture f;
  const int size = 4096;  // less than a frame
  REQUIRE(::setsockopt(f.stream->fd(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
  Bytes expected, arrived;
  for (u8 i = 0; i < 20;) {
    const Bytes frame(30'000, i);
    f.stream->flush();
    if (f.send(frame) == -EAGAIN) {
      const Bytes part = f.sent(1000);
      REQUIRE_FALSE(part.empty());
      arrived.insert(arrived.end(), part.begin(), part.end());
      continue;
    }
    const Bytes bytes = framed(frame);
    expected.insert(expected.end(), bytes.begin(), bytes.end());
    ++i;
  }
  while (arrived.size() < expected.size()) {
    f.stream->flush();
    const Bytes part = f.sent(65'536);
    REQUIRE_FALSE(part.empty());
    arrived.insert(arrived.end(), part.begin(), part.end());
  }
  CHECK(arrived == expected);
}

TEST_CASE("frame stream: a frame to nobody is an error and no signal") {
  Fixture f;
  f.other.reset();
  CHECK(f.send({1}) == -EPIPE);
}

}  // namespace
}  // namespace uvmm
