// SPDX-License-Identifier: Apache-2.0
#include "devices/unix_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace uvmm {
namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/uvmm-unix-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

bool connects(const std::string& path) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
}

// What a killed process leaves behind.
void leave_stale(const std::string& path) {
  const Fd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  REQUIRE(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
}

Error error_of(const std::string& path) {
  const auto listener = UnixListener::listen(path);
  REQUIRE_FALSE(listener);
  return listener.error();
}

TEST_CASE("unix listener: clients can connect, and only the owner's") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  const auto listener = UnixListener::listen(path);
  REQUIRE(listener);
  CHECK(connects(path));
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("unix listener: the path goes with it") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  CHECK(UnixListener::listen(path));
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("unix listener: the path can go before it, and then may be another's") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  {
    auto first = UnixListener::listen(path);
    REQUIRE(first);
    first->remove_path();
    CHECK_FALSE(std::filesystem::exists(path));
    std::ofstream(path) << "another's";
  }
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("[case 169] unix listener: a file that is there is refused and stays") {
  const Directory directory;
  const std::string path = directory.path + "/file";
  std::ofstream(path) << "precious";
  const Error error = error_of(path);
  CHECK(error.kind == ErrorKind::kCannotCreate);
  CHECK(error.message == "cannot listen at " + path + ": there is a file already");
  CHECK(std::filesystem::file_size(path) == 8);
}

TEST_CASE("[case 169] unix listener: a path that another process listens at is refused and stays") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  const auto first = UnixListener::listen(path);
  const Error error = error_of(path);
  CHECK(error.kind == ErrorKind::kBusy);
  CHECK(connects(path));
}

TEST_CASE("[case 169] unix listener: a socket that nobody listens on any more is replaced") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  leave_stale(path);
  const auto listener = UnixListener::listen(path);
  CHECK(listener);
  CHECK(connects(path));
}

TEST_CASE("[case 169] unix listener: of two that come for a stale path at once, one has it") {
  for (int round = 0; round < 50; ++round) {
    const Directory directory;
    const std::string path = directory.path + "/socket";
    leave_stale(path);
    std::array<std::optional<Result<UnixListener>>, 2> results;
    std::atomic<int> waiting = 2;
    const auto come = [&](int i) {
      --waiting;
      while (waiting > 0) continue;
      results[i].emplace(UnixListener::listen(path));
    };
    std::thread other(come, 1);
    come(0);
    other.join();
    const bool first = results[0]->has_value();
    REQUIRE(first != results[1]->has_value());
    CHECK(results[first ? 1 : 0]->error().message == "cannot listen at " + path + ": another process does");
    CHECK(connects(path));
  }
}

TEST_CASE("unix listener: one whose directory is locked for long is busy, and nothing has changed") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  leave_stale(path);
  const Fd holder(::open(directory.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(::flock(holder.get(), LOCK_EX) == 0);
  const Error error = error_of(path);
  CHECK(error.kind == ErrorKind::kBusy);
  CHECK(error.message == "cannot listen at " + path + ": its directory is locked");
  CHECK_FALSE(connects(path));
  CHECK(std::filesystem::exists(path));
  REQUIRE(::flock(holder.get(), LOCK_UN) == 0);
  CHECK(UnixListener::listen(path));
}

TEST_CASE("[case 169] unix listener: at its end it leaves what is not its own") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  {
    const auto listener = UnixListener::listen(path);
    std::filesystem::remove(path);
    std::ofstream(path) << "another";
  }
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("unix listener: a path that no socket can have is refused") {
  CHECK(error_of("").kind == ErrorKind::kBadData);
  const Error error = error_of("/tmp/" + std::string(103, 'x'));
  CHECK(error.kind == ErrorKind::kBadData);
  CHECK(error.message.ends_with("a socket's path has 1 to 107 bytes, not 108"));
}

TEST_CASE("unix listener: a directory that is not there is said so") {
  const Error error = error_of("/nonexistent/socket");
  CHECK(error.kind == ErrorKind::kCannotCreate);
  CHECK(error.message == "cannot listen at /nonexistent/socket: No such file or directory");
}

TEST_CASE("unix listener: without a descriptor to look at a stale socket with, it says so") {
  const Directory directory;
  const std::string path = directory.path + "/socket";
  {
    const Fd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    REQUIRE(::bind(stale.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  }
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit few = before;
  few.rlim_cur = std::min<rlim_t>(before.rlim_cur, 64);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  std::vector<Fd> others;
  while (others.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get() >= 0) continue;
  others.resize(others.size() - 3);  // two are free: one for the directory, one for the socket
  const auto refused = UnixListener::listen(path);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message == "cannot listen at " + path + ": Too many open files");
  CHECK(UnixListener::listen(path));
}

}  // namespace
}  // namespace uvmm
