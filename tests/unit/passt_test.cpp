// SPDX-License-Identifier: Apache-2.0
#include "devices/passt.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/fake_io.h"

using Catch::Contains;

namespace uvmm {
namespace {

using Bytes = std::vector<u8>;
constexpr std::size_t kHeader = NetEnd::kHeaderBytes;

struct Listener final : NetLinkListener {
  void link_changed() override { ++changes; }
  int changes = 0;
};

i64 now = 0;  // by the clock of all ends

// A shell script in passt's place; its descriptor 3 is the stream.
struct Fixture {
  explicit Fixture(const std::string& script) : Fixture(std::vector<std::string>{"sh", "-c", script}) {}
  explicit Fixture(std::vector<std::string> command) {
    auto started = PasstEnd::start(std::move(command), 0, log, [] { return now; });
    REQUIRE(started);
    end = std::move(*started);
    end->set_link_listener(&listener);
  }
  ~Fixture() {
    while (!io.empty()) io.finish_all(-ECANCELED);
    CHECK(tasks.empty());
  }

  void send(Bytes frame, i32& result) {
    frame.insert(frame.begin(), kHeader, 0);
    tasks.spawn(send_and_tell(std::move(frame), result));
  }
  Task<> send_and_tell(Bytes frame, i32& result) {
    const iovec whole = {frame.data(), frame.size()};
    const std::span<const iovec> parts(&whole, 1);
    const i32 sent = co_await end->send(io, 0, parts);
    result = sent;
  }
  void wait(i32& result) { tasks.spawn(wait_and_tell(result)); }
  Task<> wait_and_tell(i32& result) {
    const i32 ready = co_await end->readable(io, 0);
    result = ready;
  }

  // The next frame behind its header, or how the link changed meanwhile.
  Bytes receive() {
    Bytes buffer(70'000, 0xee);
    const iovec whole = {buffer.data(), buffer.size()};
    const int changes = listener.changes;
    for (int tries = 0; tries < 5000 && listener.changes == changes; ++tries) {
      const i32 got = end->receive(io, 0, {&whole, 1});
      if (got >= 0) {
        buffer.resize(static_cast<std::size_t>(got));
        return buffer;
      }
      REQUIRE(got == -EAGAIN);
      ::usleep(1000);
    }
    return {};
  }

  // Waits for its end, and for the pause before the next one; how long that is.
  u64 pause_after_end() {
    CHECK(receive().empty());
    CHECK_FALSE(end->link_up());
    return pause();
  }
  u64 pause() {
    i32 ready = -1;
    wait(ready);
    REQUIRE(io.pending(0).kind == Op::Kind::kTimeout);
    const u64 length = io.pending(0).length;
    io.finish(0, -ETIME);
    CHECK(ready == 0);
    return length;
  }

  i32 receive_once() {
    u8 byte;
    const iovec whole = {&byte, 1};
    return end->receive(io, 0, {&whole, 1});
  }

  FakeIo io;
  std::string said;
  Log log{[this](LogLevel, std::string_view line) { said += std::string(line) + "\n"; }, LogLevel::kDebug};
  Listener listener;
  std::unique_ptr<PasstEnd> end;
  TaskScope tasks;
};

constexpr const char* kEcho = "exec cat <&3 >&3";

TEST_CASE("passt: frames go and come, with headers of zeros for the guest") {
  Fixture f(kEcho);
  i32 sent = 1;
  f.send({1, 2, 3}, sent);
  CHECK(sent == 0);
  Bytes expected(kHeader, 0);
  expected.insert(expected.end(), {1, 2, 3});
  CHECK(f.receive() == expected);
  CHECK(f.end->link_up());
}

TEST_CASE("passt: waiting for a frame is a poll, and nothing if one is here") {
  Fixture f(kEcho);
  i32 ready = -1;
  f.wait(ready);
  CHECK(f.io.pending(0).kind == Op::Kind::kPoll);
  CHECK(f.io.pending(0).flags == POLLIN);
  f.io.finish(0, POLLIN);
  CHECK(ready == POLLIN);

  i32 sent = -1;
  f.send({1}, sent);
  f.send({2}, sent);
  // Both are read at once sooner or later; then the second one is here without a poll.
  CHECK(f.receive().back() == 1);
  CHECK(f.receive().back() == 2);
}

TEST_CASE("passt: when it ends, the link goes down, and another is started after a pause that grows") {
  Fixture f("echo 'Failed to send 7 bytes to syslog' >&2; echo root >&2; echo no luck >&2");
  CHECK(f.receive().empty());
  CHECK_FALSE(f.end->link_up());
  CHECK(f.listener.changes == 1);
  CHECK_THAT(f.said, Contains("sh has ended (no luck); another is started in 100 ms"));
  i32 sent = 0;
  f.send({1}, sent);
  CHECK(sent == -ENETDOWN);

  i32 ready = -1;
  f.wait(ready);
  REQUIRE(f.io.pending(0).kind == Op::Kind::kTimeout);
  CHECK(f.io.pending(0).length == PasstEnd::kFirstPause);
  f.io.finish(0, -ETIME);
  CHECK(ready == 0);
  CHECK(f.end->link_up());
  CHECK(f.listener.changes == 2);

  CHECK(f.receive().empty());
  f.wait(ready);
  CHECK(f.io.pending(0).length == 2 * PasstEnd::kFirstPause);
  f.io.finish(0, -ETIME);
}

TEST_CASE("passt: the pause grows to ten seconds, and is short again after a long life") {
  Fixture f("exit 0");
  u64 expected = PasstEnd::kFirstPause;
  for (int ends = 0; ends < 10; ++ends) {
    CHECK(f.pause_after_end() == expected);
    expected = std::min<u64>(2 * expected, 10'000'000'000);
  }
  now += PasstEnd::kLongLife;
  CHECK(f.pause_after_end() == PasstEnd::kLongestPause);
  now += PasstEnd::kLongLife + 1;
  CHECK(f.pause_after_end() == PasstEnd::kFirstPause);
  CHECK(f.pause_after_end() == 2 * PasstEnd::kFirstPause);
}

TEST_CASE("passt: one that cannot be started any more is tried again, less and less often") {
  const TemporaryDirectory directory;
  const std::string program = directory.file("helper", "#!/bin/sh\nexit 0\n");
  REQUIRE(::chmod(program.c_str(), 0700) == 0);
  Fixture f(std::vector<std::string>{program});
  REQUIRE(::rename(program.c_str(), (program + ".away").c_str()) == 0);
  CHECK(f.pause_after_end() == PasstEnd::kFirstPause);
  CHECK_FALSE(f.end->link_up());
  CHECK_THAT(f.said, Contains("cannot start " + program + ": No such file or directory"));
  i32 sent = 0;
  f.send({1}, sent);
  CHECK(sent == -ENETDOWN);
  CHECK(f.receive_once() == -EAGAIN);
  CHECK(f.pause() == 2 * PasstEnd::kFirstPause);
  CHECK_FALSE(f.end->link_up());
  REQUIRE(::rename((program + ".away").c_str(), program.c_str()) == 0);
  CHECK(f.pause() == 4 * PasstEnd::kFirstPause);
  CHECK(f.end->link_up());
}

TEST_CASE("passt: what is no frame ends it") {
  Fixture f("printf '\\377\\377\\377\\377' >&3; exec sleep 100");
  CHECK(f.receive().empty());
  CHECK_FALSE(f.end->link_up());
}

TEST_CASE("passt: one that closes one direction only has ended") {
  const std::string direction = GENERATE("SHUT_RD", "SHUT_WR");
  Fixture f(
      "exec python3 -c 'import socket, time; s = socket.socket(fileno=3); s.send(b\"\\0\\0\\0\\1x\"); "
      "s.shutdown(socket." +
      direction + "); time.sleep(100)'");
  CHECK(f.receive().back() == 'x');
  // The test hears of the first byte before the direction is closed.
  for (int tries = 0; tries < 5000 && f.listener.changes == 0; ++tries) {
    i32 sent = 1;
    f.send({1}, sent);
    ::usleep(1000);
    CHECK(f.receive_once() == -EAGAIN);
  }
  CHECK_FALSE(f.end->link_up());
}

TEST_CASE("passt: a reset while it is down starts nothing") {
  Fixture f("exit 0");
  CHECK(f.receive().empty());
  i32 ready = 0;
  f.wait(ready);
  f.io.finish(0, -ECANCELED);
  CHECK(ready == -ECANCELED);
  CHECK_FALSE(f.end->link_up());
}

TEST_CASE("passt: one that does not read holds frames up, in order, and a reset frees them") {
  Fixture f("exec sleep 100");
  std::vector<i32> sent(1000, 1);
  std::size_t count = 0;
  while (f.io.empty()) {
    REQUIRE(count < sent.size() - 1);
    f.send(Bytes(60'000, 1), sent[count++]);
  }
  f.send({2}, sent[count]);
  CHECK(sent[count] == 1);
  REQUIRE(f.io.size() == 1);  // only one is at it
  CHECK(f.io.pending(0).kind == Op::Kind::kPoll);
  CHECK(f.io.pending(0).flags == POLLOUT);
  f.io.finish(0, -ECANCELED);
  while (!f.io.empty()) f.io.finish(0, -ECANCELED);
  CHECK(sent[count] == -ECANCELED);
}

TEST_CASE("passt: its arguments") {
  NetConfig config;
  config.mtu = 9000;
  config.forwards = {{.host_address = "127.0.0.1", .host_port = 2222, .guest_port = 22},
                     {.protocol = NetForward::Protocol::kUdp, .host_port = 53, .guest_port = 5353},
                     {.host_address = "::1", .host_port = 80, .guest_port = 8080}};
  CHECK(fmt::format("{}", fmt::join(passt_arguments(config), " ")) ==
        "passt --foreground --quiet --stderr --fd 3 -a 10.0.2.15 -n 24 -g 10.0.2.2 -m 9000 -t "
        "127.0.0.1/2222:22 -u "
        "53:5353 -t ::1/80:8080");
}

TEST_CASE("passt: if it is not installed, that is refused with a remedy") {
  Fixture f(kEcho);  // for its log
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", "/nowhere", 1);
  const auto started = PasstEnd::start(NetConfig{}, f.log);
  ::setenv("PATH", path.c_str(), 1);
  REQUIRE_FALSE(started);
  CHECK(started.error().kind == ErrorKind::kUnavailable);
  CHECK(started.error().message == "--net user: cannot start passt: No such file or directory");
  CHECK(started.error().hint == "apt install passt");
}

}  // namespace
}  // namespace uvmm
