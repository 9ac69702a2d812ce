// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/own_files.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>

using namespace uvmm;
using namespace uvmm::command;

namespace {

struct Directory {
  std::string path = "/tmp/uvmm-own-files-test-XXXXXX";
  Directory() {
    REQUIRE(::mkdtemp(path.data()));
    std::filesystem::create_directory(path + "/share");
  }
  ~Directory() { std::filesystem::remove_all(path); }
};

std::string complaint(const Settings& settings) {
  const Result<void> checked = check_own_files(settings);
  return checked ? "" : checked.error().message;
}

}  // namespace

TEST_CASE("[case 166] own files: a share that the guest can write to and that has one in it is refused") {
  const Directory directory;
  const std::string share = directory.path + "/share", inside = share + "/file";
  Settings settings;
  settings.config.shares = {{.path = share}};
  std::string option;
  SECTION("the configuration file") {
    settings.config_file = inside;
    option = "--config";
  }
  SECTION("the log") {
    settings.log_file = inside;
    option = "--log-file";
  }
  SECTION("the pidfile") {
    settings.pidfile = inside;
    option = "--pidfile";
  }
  SECTION("the control socket") {
    settings.control = {.kind = ControlChoice::Kind::kPath, .path = inside};
    option = "--control";
  }
  CHECK(complaint(settings) == "--share " + share + ": " + option + " " + inside + " is in it");
  CHECK(check_own_files(settings).error().kind == ErrorKind::kBadData);
  settings.config.shares[0].read_only = true;
  CHECK(complaint(settings).empty());
}

TEST_CASE(
    "[case 166] own files: the control socket of the VM's name counts, though its directory is yet to be "
    "made") {
  const Directory directory;
  const char* const before = std::getenv("XDG_RUNTIME_DIR");
  const std::string saved = before ? before : "";
  ::setenv("XDG_RUNTIME_DIR", directory.path.c_str(), 1);
  Settings settings;
  settings.control.kind = ControlChoice::Kind::kAuto;
  settings.config.shares = {{.path = directory.path}};
  CHECK(complaint(settings).find("/uvmm/uvmm.sock is in it") != std::string::npos);
  settings.config.shares[0].path = directory.path + "/share";
  CHECK(complaint(settings).empty());
  settings.config.shares[0].path = directory.path;
  settings.control.kind = ControlChoice::Kind::kOff;
  CHECK(complaint(settings).empty());
  if (before) {
    ::setenv("XDG_RUNTIME_DIR", saved.c_str(), 1);
  } else {
    ::unsetenv("XDG_RUNTIME_DIR");
  }
}

TEST_CASE("own files: what is elsewhere, or is nothing, may be") {
  const Directory directory;
  Settings settings;
  settings.config.shares = {{.path = directory.path + "/share"}, {.path = directory.path + "/none"}};
  settings.log_file = directory.path + "/log";
  settings.pidfile = directory.path + "/share-not/pid";
  CHECK(complaint(settings).empty());
}
