// SPDX-License-Identifier: Apache-2.0
// A console's end of the host as it really is: files, pipes and sockets, on a real ring.
#include "devices/console_end.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <string>

#include "tests/unit/console_end_fixture.h"
#include "vmm/base/uring.h"

namespace uvmm {
namespace {

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
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
