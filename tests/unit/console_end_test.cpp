// SPDX-License-Identifier: Apache-2.0
#include "devices/console_end.h"

#include <fcntl.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fakes/fake_io.h"
#include "tests/unit/console_end_fixture.h"

namespace uvmm {
namespace {

// Two streams on the fake door.
struct Streams {
  explicit Streams(bool escape = false) {
    end = *ConsoleEnd::open(
        io, {.kind = ConsoleConfig::Kind::kStreams, .input_fd = 1000, .output_fd = 1001, .escape = escape},
        log);
    end->set_reader(&reader);
    end->start([this] { ++quits; });
  }
  ~Streams() {
    end->close();
    while (!io.empty()) io.finish_all(-ECANCELED);
    CHECK(end->closed());
  }
  void type(std::string_view text) {
    io.finish(io.find(Op::Kind::kPoll), POLLIN);
    io.finish_read(io.find(Op::Kind::kRead), bytes(text));
  }
  std::string writes() {
    const auto written = io.bytes_of(io.find(Op::Kind::kWrite));
    return {written.begin(), written.end()};
  }

  std::vector<std::string> lines;
  Log log{[this](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning};
  FakeIo io;
  FakeReader reader;
  int quits = 0;
  std::unique_ptr<ConsoleEnd> end;
};

TEST_CASE("console end: input is waited for before it is read") {
  Streams s;
  REQUIRE(s.io.size() == 1);
  CHECK(s.io.pending(0).kind == Op::Kind::kPoll);
  CHECK(s.io.pending(0).fd == 1000);
  s.type("abc");
  CHECK(s.reader.got == "abc");
  CHECK(s.io.pending(0).kind == Op::Kind::kPoll);
}

TEST_CASE("console end: a sink is given the output at once") {
  FakeIo io;
  Log log;
  std::string got;
  const auto end = *ConsoleEnd::open(
      io, {.kind = ConsoleConfig::Kind::kSink, .sink = [&](std::string_view text) { got += text; }}, log);
  end->start();
  end->write(bytes("a line\n"));
  CHECK(got == "a line\n");
  CHECK(io.empty());
  end->close();
  end->write(bytes("late"));
  CHECK(got == "a line\n");
  CHECK(end->closed());
}

TEST_CASE("console end: viewers see what is written, and type beside the one whose console it is") {
  Streams s;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd client(ends[0]);
  CHECK(s.end->add_viewer(Fd(ends[1])));
  s.end->write(bytes("printed"));
  CHECK(s.writes() == "printed");
  const auto shown = s.io.bytes_of(s.io.find(Op::Kind::kSend));
  CHECK(std::string(shown.begin(), shown.end()) == "printed");
  REQUIRE(::send(client.get(), "\x01x", 2, 0) == 2);
  s.io.finish(1, POLLIN);
  CHECK(s.reader.got == "\x01x");  // the escape is not a viewer's
  CHECK(s.quits == 0);
}

TEST_CASE("[case 137] console end: viewers, too, are not read while the guest has no room") {
  Streams s;
  s.reader.room = 0;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const Fd client(ends[0]);
  REQUIRE(s.end->add_viewer(Fd(ends[1])));
  const std::string much(ConsoleEnd::kInputBytes, 'k');
  REQUIRE(::send(client.get(), much.data(), much.size(), 0) == static_cast<ssize_t>(much.size()));
  s.io.finish(1, POLLIN);
  CHECK(s.io.size() == 1);  // the owner's
  s.reader.room = 1 << 20;
  s.end->reader_ready();
  CHECK(s.reader.got == much);
  CHECK(s.io.size() == 2);
}

TEST_CASE("console end: the end of the input is not asked about again") {
  const i32 result = GENERATE(0, -EIO);
  Streams s;
  s.io.finish(0, POLLIN);
  s.io.finish(0, result);
  CHECK(s.io.empty());
  s.end->reader_ready();
  CHECK(s.io.empty());
}

TEST_CASE("console end: input that another process took is waited for again, without spinning") {
  Streams s;
  s.io.finish(0, POLLIN);
  s.io.finish(0, -EAGAIN);
  CHECK(s.io.pending(0).kind == Op::Kind::kTimeout);
  s.io.finish(0, -ETIME);
  CHECK(s.io.pending(0).kind == Op::Kind::kPoll);
}

TEST_CASE("[case 137] console end: a guest without room stops the reading") {
  Streams s;
  s.reader.room = 2;
  s.type("abcd");
  CHECK(s.reader.got == "ab");
  CHECK(s.io.empty());
  s.reader.room = 3;
  s.end->reader_ready();
  CHECK(s.io.empty());
  s.reader.room = 100;
  s.end->reader_ready();
  CHECK(s.reader.got == "abcd");
  CHECK(s.io.size() == 1);
}

TEST_CASE("console end: the escape ends the VM, once, and is not the guest's") {
  Streams s(true);
  s.type("a\x01x");
  CHECK(s.reader.got == "a");
  CHECK(s.quits == 1);
  s.type("b\x01x");
  CHECK(s.reader.got == "a");
  CHECK(s.quits == 1);
}

TEST_CASE("console end: the escape is found when the guest does not listen") {
  Streams s(true);
  s.reader.room = 0;
  s.type("ab");
  s.type("c\x01x");
  CHECK(s.quits == 1);
  s.reader.room = 100;
  s.end->reader_ready();
  CHECK(s.reader.got == "abc");
}

TEST_CASE("[case 137] console end: with an escape, too, a guest without room stops the reading in the end") {
  Streams s(true);
  s.reader.room = 0;
  const std::string much(ConsoleEnd::kInputBytes - 1, 'k');
  s.type(much);
  s.type(much);
  CHECK(s.io.empty());
  s.reader.room = 1 << 20;
  s.end->reader_ready();
  CHECK(s.reader.got == much + much);
  CHECK(s.io.size() == 1);
}

TEST_CASE("console end: without escape every key is the guest's") {
  Streams s;
  s.type("\x01x");
  CHECK(s.reader.got == "\x01x");
  CHECK(s.quits == 0);
}

TEST_CASE("console end: the rest of a short write follows") {
  Streams s;
  s.end->write(bytes("abcdef"));
  s.io.finish(s.io.find(Op::Kind::kWrite), 2);
  CHECK(s.writes() == "cdef");
}

TEST_CASE("console end: what is too much is dropped and reported once it flows again") {
  Streams s;
  const std::string block(ConsoleEnd::kOutputBytes, 'x');
  s.end->write(bytes(block));
  s.end->write(bytes("lost"));
  CHECK(s.lines.empty());
  s.io.finish(s.io.find(Op::Kind::kWrite), ConsoleEnd::kOutputBytes);
  CHECK(s.lines == std::vector<std::string>{
                       "4 bytes of the console's output were dropped: the host did not take them in time"});
}

TEST_CASE("console end: a non-blocking stream that is full is waited for, then tried with pauses") {
  Streams s;
  s.end->write(bytes("a"));
  const u32 at = s.io.find(Op::Kind::kWrite);
  s.io.finish(at, -EAGAIN);
  REQUIRE(s.io.pending(at).kind == Op::Kind::kPoll);
  CHECK(s.io.pending(at).flags == POLLOUT);
  s.io.finish(at, POLLOUT);
  s.io.finish(at, -EAGAIN);
  CHECK(s.io.pending(at).kind == Op::Kind::kTimeout);
  s.io.finish(at, -ETIME);
  s.io.finish(at, 1);
  CHECK(s.io.size() == 1);
}

TEST_CASE("console end: a full disk costs what was to be written, not what follows") {
  const i32 error = GENERATE(-ENOSPC, -ENOMEM, -EDQUOT);
  Streams s;
  s.end->write(bytes("abc"));
  s.io.finish(s.io.find(Op::Kind::kWrite), error);
  CHECK(s.lines.size() == 1);
  s.end->write(bytes("def"));
  CHECK(s.writes() == "def");
}

TEST_CASE("[case 138] console end: a closed output is said once and discarded from then on") {
  const i32 error = GENERATE(-EPIPE, -EIO, -EBADF);
  Streams s;
  s.end->write(bytes("abc"));
  s.io.finish(s.io.find(Op::Kind::kWrite), error);
  s.end->write(bytes("def"));
  CHECK(s.io.find(Op::Kind::kWrite) == s.io.size());
  CHECK(s.lines.size() == 1);
}

TEST_CASE("console end: closing lets the last output go out") {
  Streams s;
  s.end->write(bytes("bye"));
  s.end->close();
  s.io.finish_cancelled();  // the input
  CHECK_FALSE(s.end->closed());
  s.io.finish(s.io.find(Op::Kind::kWrite), 3);
  s.io.finish_cancelled();  // the deadline
  CHECK(s.end->closed());
}

TEST_CASE("console end: closing does not wait for ever") {
  Streams s;
  s.end->write(bytes("bye"));
  s.end->close();
  s.io.finish_cancelled();
  s.io.finish(s.io.find(Op::Kind::kTimeout), -ETIME);
  s.io.finish_cancelled();
  CHECK(s.end->closed());
}

TEST_CASE("console end: after a second nothing more is written, though the host takes what was cancelled") {
  const i32 result = GENERATE(1, -EAGAIN, -EINTR, -ENOSPC);
  Streams s;
  const std::string block(ConsoleEnd::kOutputBytes, 'x');
  s.end->write(bytes(block));
  s.end->close();
  s.io.finish_cancelled();
  s.io.finish(s.io.find(Op::Kind::kTimeout), -ETIME);
  s.io.finish(s.io.find(Op::Kind::kWrite), result);
  CHECK(s.io.find(Op::Kind::kWrite) == s.io.size());
  s.io.finish_cancelled();
  CHECK(s.end->closed());
}

TEST_CASE("console end: a client that comes as it closes has a second, too") {
  const Directory directory;
  FakeIo io;
  Log log;
  const auto end =
      *ConsoleEnd::open(io, {.kind = ConsoleConfig::Kind::kUnix, .path = directory.path + "/console"}, log);
  end->start();
  end->write(bytes("bye"));
  end->close();
  const int client = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  io.finish(io.find(Op::Kind::kAccept), client);
  REQUIRE(io.find(Op::Kind::kWrite) < io.size());
  REQUIRE(io.find(Op::Kind::kTimeout) < io.size());
  io.finish(io.find(Op::Kind::kTimeout), -ETIME);
  io.finish(io.find(Op::Kind::kWrite), 1);
  CHECK(io.empty());
  CHECK(end->closed());
}

TEST_CASE("console end: a file that cannot be written is refused") {
  FakeIo io;
  Log log;
  const Directory directory;
  const std::string path = GENERATE(std::string("/nonexistent/log"), std::string("/tmp"));
  const auto end = ConsoleEnd::open(io, {.kind = ConsoleConfig::Kind::kFile, .path = path}, log);
  REQUIRE_FALSE(end);
  CHECK(end.error().kind == ErrorKind::kCannotCreate);
  CHECK(end.error().message.starts_with("cannot open " + path + " for the console's output: "));
}

}  // namespace
}  // namespace uvmm
