// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "vmm/command/pidfile.h"

using namespace uvmm;
using namespace uvmm::command;

namespace {

struct Directory {
  std::string path = "/tmp/uvmm-pidfile-test-XXXXXX";
  Directory() { REQUIRE(::mkdtemp(path.data())); }
  ~Directory() {
    ::unlink(file().c_str());
    ::rmdir(path.c_str());
  }
  std::string file() const { return path + "/pid"; }
};

std::string content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("pidfile: is there with this process's number, and gone afterwards") {
  const Directory directory;
  {
    const Result<Pidfile> pidfile = Pidfile::create(directory.file());
    REQUIRE(pidfile);
    CHECK(content(directory.file()) == std::to_string(::getpid()) + "\n");
  }
  CHECK(::access(directory.file().c_str(), F_OK) < 0);
}

TEST_CASE("pidfile: one that a dead process left is taken over") {
  const Directory directory;
  std::ofstream(directory.file()) << "4194304999\n";
  REQUIRE(Pidfile::create(directory.file()));
}

TEST_CASE("pidfile: a living owner keeps it") {
  const Directory directory;
  const Result<Pidfile> first = Pidfile::create(directory.file());
  REQUIRE(first);
  const Result<Pidfile> second = Pidfile::create(directory.file());
  REQUIRE_FALSE(second);
  CHECK(second.error().kind == ErrorKind::kBusy);
  CHECK(content(directory.file()) == std::to_string(::getpid()) + "\n");
}

TEST_CASE("pidfile: a file that is something else is left alone") {
  const Directory directory;
  std::ofstream(directory.file()) << "precious";
  const Result<Pidfile> pidfile = Pidfile::create(directory.file());
  REQUIRE_FALSE(pidfile);
  CHECK(pidfile.error().kind == ErrorKind::kCannotCreate);
  CHECK(content(directory.file()) == "precious");
}

TEST_CASE("pidfile: no directory, a directory, a symbolic link") {
  CHECK(Pidfile::create("/nonexistent/pid").error().kind == ErrorKind::kCannotCreate);
  CHECK(Pidfile::create("/tmp").error().kind == ErrorKind::kCannotCreate);
  const Directory directory;
  REQUIRE(::symlink("/tmp/uvmm-nothing", directory.file().c_str()) == 0);
  CHECK(Pidfile::create(directory.file()).error().kind == ErrorKind::kCannotCreate);
  CHECK(::access("/tmp/uvmm-nothing", F_OK) < 0);
}
