// SPDX-License-Identifier: Apache-2.0
#include "devices/console_end.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fakes/fake_io.h"
#include "vmm/base/uring.h"

namespace uvmm {
namespace {

std::span<const u8> bytes(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

// A guest with room for so many bytes.
struct FakeReader final : ConsoleReader {
  bool wants_input() const override { return got.size() < room; }
  u64 take_input(std::span<const u8> input) override {
    const u64 taken = std::min<u64>(input.size(), room - got.size());
    got.append(input.begin(), input.begin() + static_cast<i64>(taken));
    return taken;
  }
  std::string got;
  u64 room = 4_KiB;
};

struct Directory {
  Directory() {
    char name[] = "/tmp/uvmm-console-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

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

TEST_CASE("[case 73] console end: a file that cannot be written is refused") {
  FakeIo io;
  Log log;
  const Directory directory;
  const std::string path = GENERATE(std::string("/nonexistent/log"), std::string("/tmp"));
  const auto end = ConsoleEnd::open(io, {.kind = ConsoleConfig::Kind::kFile, .path = path}, log);
  REQUIRE_FALSE(end);
  CHECK(end.error().kind == ErrorKind::kCannotCreate);
  CHECK(end.error().message.starts_with("cannot open " + path + " for the console's output: "));
}

// --- with the real ring

struct Real {
  explicit Real(const ConsoleConfig& config) {
    auto opened = ConsoleEnd::open(*uring, config, log);
    REQUIRE(opened);
    end = std::move(*opened);
    end->set_reader(&reader);
  }
  // Serves while `script` runs, then to the end.
  void run(Task<> script) {
    end->start();
    tasks.spawn(std::move(script));
    uring->run();
    end->close();
    uring->drain();
    CHECK(end->closed());
  }

  Log log;
  std::unique_ptr<Uring> uring = std::move(*Uring::create(64));
  FakeReader reader;
  std::unique_ptr<ConsoleEnd> end;
  TaskScope tasks;
};

constexpr u64 kMillisecond = 1'000'000;

Task<> print_and_stop(Real& real, std::string text) {
  real.end->write(bytes(text));
  co_await real.uring->yield();
  real.uring->stop();
}

// Until the guest has so much, two seconds at most.
Task<> wait_for_input(Real& real, u64 count) {
  for (int i = 0; i < 200 && real.reader.got.size() < count; ++i) {
    co_await real.uring->sleep(10 * kMillisecond);
  }
  real.uring->stop();
}

TEST_CASE("console end: output is appended to a file of the owner's") {
  const Directory directory;
  const std::string path = directory.path + "/log";
  for (const char* const text : {"first\n", "second\n"}) {
    Real real({.kind = ConsoleConfig::Kind::kFile, .path = path});
    real.run(print_and_stop(real, text));
  }
  CHECK(content(path) == "first\nsecond\n");
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("console end: pipes are streams, and keep their flags") {
  int in[2];
  int out[2];
  REQUIRE(::pipe2(in, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(::write(in[1], "typed", 5) == 5);
  {
    Real real({.kind = ConsoleConfig::Kind::kStreams, .input_fd = in[0], .output_fd = out[1]});
    real.end->write(bytes("printed"));
    real.run(wait_for_input(real, 5));
    CHECK(real.reader.got == "typed");
  }
  char buffer[16] = {};
  CHECK(::read(out[0], buffer, sizeof buffer) == 7);
  CHECK(std::string_view(buffer) == "printed");
  CHECK(::fcntl(out[1], F_GETFL) == O_WRONLY);
  for (const int fd : {in[0], in[1], out[0], out[1]}) ::close(fd);
}

TEST_CASE("console end: a regular file is input until its end") {
  const Directory directory;
  const std::string path = directory.path + "/input";
  std::ofstream(path) << "echo hello\n";
  const Fd input(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Real real({.kind = ConsoleConfig::Kind::kStreams, .input_fd = input.get()});
  real.run(wait_for_input(real, 11));
  CHECK(real.reader.got == "echo hello\n");
}

Task<> wait_and_stop(Real& real, u64 nanoseconds) {
  co_await real.uring->sleep(nanoseconds);
  real.uring->stop();
}

TEST_CASE("console end: /dev/null is an input that has ended") {
  const Fd input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  Real real({.kind = ConsoleConfig::Kind::kStreams, .input_fd = input.get()});
  real.run(wait_and_stop(real, 50 * kMillisecond));
  CHECK(real.reader.got.empty());
  CHECK(real.uring->enters() < 10);  // it is not asked again and again
}

TEST_CASE("[case 131] [case 138] console end: a socket whose reader has gone raises no SIGPIPE") {
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  ::close(ends[1]);
  Real real({.kind = ConsoleConfig::Kind::kStreams, .output_fd = ends[0]});
  real.run(print_and_stop(real, "into the void"));
  ::close(ends[0]);
}

// --- clients of a socket

Fd connect_to(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  return fd;
}

// What a client is shown until it has so much, two seconds at most.
Task<> read_client(Real& real, int fd, std::string& got, u64 count) {
  std::vector<char> buffer(64_KiB);
  for (int i = 0; i < 200 && got.size() < count; ++i) {
    const ssize_t bytes_read = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (bytes_read > 0) {
      got.append(buffer.data(), static_cast<u64>(bytes_read));
    } else {
      co_await real.uring->sleep(10 * kMillisecond);
    }
  }
}

Task<> talk(Real& real, std::string path, std::string& got) {
  const Fd client = connect_to(path);
  const int fd = client.get();
  ::send(fd, "typed", 5, 0);
  real.end->write(bytes("printed"));
  co_await read_client(real, fd, got, 7);
  co_await wait_for_input(real, 5);
}

TEST_CASE("console end: a socket's client types and reads") {
  const Directory directory;
  const std::string path = directory.path + "/console";
  {
    Real real({.kind = ConsoleConfig::Kind::kUnix, .path = path});
    std::string got;
    real.run(talk(real, path, got));
    CHECK(got == "printed");
    CHECK(real.reader.got == "typed");
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("console end: the socket's path is gone when it is closed, not only when it is destroyed") {
  const Directory directory;
  const std::string path = directory.path + "/console";
  Real real({.kind = ConsoleConfig::Kind::kUnix, .path = path});
  REQUIRE(std::filesystem::exists(path));
  real.end->close();
  CHECK_FALSE(std::filesystem::exists(path));
}

Task<> come_and_go(Real& real, std::string path, std::string& first, std::string& second) {
  real.end->write(bytes("boot "));
  Fd client = connect_to(path);
  const Fd waiting = connect_to(path);
  const int fd = client.get();
  co_await read_client(real, fd, first, 5);
  client.reset();
  const int next = waiting.get();
  const u64 pause = 50 * kMillisecond;
  co_await real.uring->sleep(pause);
  real.end->write(bytes("shell"));
  co_await read_client(real, next, second, 5);
  real.uring->stop();
}

TEST_CASE("console end: a late client is shown what nobody has read, the next one is served after it") {
  const Directory directory;
  const std::string path = directory.path + "/console";
  Real real({.kind = ConsoleConfig::Kind::kUnix, .path = path});
  std::string first;
  std::string second;
  real.run(come_and_go(real, path, first, second));
  CHECK(first == "boot ");
  CHECK(second == "shell");
}

Task<> flood_then_leave(Real& real, std::string path, std::string& second) {
  Fd client = connect_to(path);
  const u64 pause = 50 * kMillisecond;
  co_await real.uring->sleep(pause);
  const std::string block(64_KiB, 'x');
  for (int i = 0; i < 100; ++i) real.end->write(bytes(block));
  co_await real.uring->sleep(pause);
  real.reader.room = 0;
  client.reset();
  co_await real.uring->sleep(pause);
  for (int i = 0; i < 3; ++i) real.end->write(bytes(block));
  real.end->write(bytes("end"));
  const Fd next = connect_to(path);
  const int fd = next.get();
  co_await read_client(real, fd, second, ConsoleEnd::kBacklogBytes);
  real.uring->stop();
}

TEST_CASE("console end: a client that stops reading and leaves makes room for the next") {
  const Directory directory;
  const std::string path = directory.path + "/console";
  Real real({.kind = ConsoleConfig::Kind::kUnix, .path = path});
  std::string second;
  real.run(flood_then_leave(real, path, second));
  CHECK(second.size() == ConsoleEnd::kBacklogBytes);
  CHECK(second.ends_with("xxend"));
}

}  // namespace
}  // namespace uvmm
