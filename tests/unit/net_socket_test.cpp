// SPDX-License-Identifier: Apache-2.0
#include "devices/net_socket.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>

#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

using Bytes = std::vector<u8>;

struct Fixture {
  explicit Fixture(int type = SOCK_SEQPACKET) {
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()) == 0);
    theirs = Fd(ends[0]);
    ours = Fd(ends[1]);
    end = *NetSocket::open({.kind = NetConfig::Kind::kSocket, .fds = {theirs.get()}});
  }
  ~Fixture() {
    while (!io.empty()) io.finish_all(-ECANCELED);
    CHECK(tasks.empty());
  }

  void send(Bytes frame) {
    frame.insert(frame.begin(), NetEnd::kHeaderBytes, 0xee);
    tasks.spawn(send_and_tell(std::move(frame)));
  }
  Task<> send_and_tell(Bytes frame) {
    const std::array<iovec, 3> parts = {iovec{frame.data(), 12}, iovec{frame.data() + 12, 1},
                                        iovec{frame.data() + 13, frame.size() - 13}};
    const std::span<const iovec> all(parts);
    const i32 sent = co_await end->send(io, 0, all);
    results.push_back(sent);
  }

  FakeIo io;
  Fd theirs, ours;
  std::unique_ptr<NetEnd> end;
  std::vector<i32> results;
  TaskScope tasks;
};

TEST_CASE("net socket: what keeps no messages apart is refused") {
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  const Fd one(ends[0]), other(ends[1]);
  const Fd file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {one.get(), file.get(), 1'000'000}) {
    const auto refused = NetSocket::open({.kind = NetConfig::Kind::kSocket, .fds = {fd}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().kind == ErrorKind::kBadData);
    CHECK(refused.error().message.starts_with("--net socket=" + std::to_string(fd)));
  }
}

TEST_CASE("net socket: the caller may close its descriptor") {
  Fixture f(GENERATE(SOCK_SEQPACKET, SOCK_DGRAM));
  f.theirs.reset();
  REQUIRE(::send(f.ours.get(), "0123456789abcd", 14, 0) == 14);
}

TEST_CASE("net socket: a frame is one message, without the header") {
  Fixture f;
  f.send({1, 2, 3, 4});
  REQUIRE(f.io.size() == 1);
  REQUIRE(f.io.pending(0).kind == Op::Kind::kSendmsg);
  CHECK(f.io.bytes_of(0) == Bytes{1, 2, 3, 4});
  f.io.finish(0, 4);
  CHECK(f.results == std::vector<i32>{4});
}

TEST_CASE("net socket: while the other side takes none, frames wait in their order") {
  Fixture f;
  f.send({1, 1});
  f.send({2, 2});
  REQUIRE(f.io.size() == 1);
  f.io.finish(0, -EAGAIN);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).kind == Op::Kind::kPoll);
  CHECK(f.io.pending(0).flags == POLLOUT);
  f.io.finish(0, POLLOUT);
  CHECK(f.io.bytes_of(0) == Bytes{1, 1});
  f.io.finish(0, 2);
  CHECK(f.io.bytes_of(0) == Bytes{2, 2});
  f.io.finish(0, -ECONNREFUSED);
  CHECK(f.results == std::vector<i32>{2, -ECONNREFUSED});
}

TEST_CASE(
    "net socket: a frame for the guest goes behind a header of zeros, wherever the buffers' borders are") {
  Fixture f;
  const u64 border = GENERATE(5u, 12u, 14u);
  Bytes first(border, 0xee), second(20, 0xee);
  const std::array<iovec, 2> buffers = {iovec{first.data(), first.size()},
                                        iovec{second.data(), second.size()}};
  f.io.found_now.push_back({.bytes = {1, 2, 3, 4}});
  CHECK(f.end->receive(f.io, 0, buffers) == 16);
  Bytes all = first;
  all.insert(all.end(), second.begin(), second.end());
  all.resize(16);
  CHECK(all == Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4});
}

TEST_CASE("net socket: nothing to receive is no error, but the other side's end is one") {
  Fixture f;
  Bytes buffer(100);
  const iovec whole{buffer.data(), buffer.size()};
  CHECK(f.end->receive(f.io, 0, {&whole, 1}) == -EAGAIN);
  f.io.found_now.push_back({.bytes = {}});
  CHECK(f.end->receive(f.io, 0, {&whole, 1}) == -ENOTCONN);
}

TEST_CASE("net socket: an empty datagram is no frame, and not the other side's end") {
  Fixture f(SOCK_DGRAM);
  Bytes buffer(100);
  const iovec whole{buffer.data(), buffer.size()};
  f.io.found_now.push_back({.bytes = {}});
  CHECK(f.end->receive(f.io, 0, {&whole, 1}) == -EAGAIN);
  f.io.found_now.push_back({.bytes = {1, 2}});
  CHECK(f.end->receive(f.io, 0, {&whole, 1}) == 14);
}

}  // namespace
}  // namespace uvmm
