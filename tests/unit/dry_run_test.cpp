// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "vmm/command/dry_run.h"

using namespace uvmm;
using namespace uvmm::command;

namespace {

struct Directory {
  std::string path = "/tmp/uvmm-dry-run-test-XXXXXX";
  Directory() { REQUIRE(::mkdtemp(path.data())); }
  ~Directory() { std::filesystem::remove_all(path); }
};

Settings with_console_file(const std::string& path) {
  Settings settings;
  settings.config.kernel = "k";
  settings.config.console = {.kind = ConsoleConfig::Kind::kFile, .path = path};
  return settings;
}

}  // namespace

TEST_CASE("dry run: what a start would create is not created") {
  const Directory directory;
  Settings settings = with_console_file(directory.path + "/console");
  settings.log_file = directory.path + "/log";
  settings.config.memory.prefault = true;
  REQUIRE(prepare_dry_run(settings));
  CHECK(std::filesystem::is_empty(directory.path));
  CHECK(settings.log_file.empty());
  CHECK(settings.config.console.kind == ConsoleConfig::Kind::kStreams);  // there is a console all the same
  CHECK_FALSE(settings.config.kernel_cache);
  CHECK_FALSE(settings.config.memory.prefault);
}

TEST_CASE("dry run: what a start could not create is refused") {
  Settings console = with_console_file("/nonexistent/console");
  const Result<void> checked = prepare_dry_run(console);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().kind == ErrorKind::kCannotCreate);
  CHECK(checked.error().message == "--console file /nonexistent/console: No such file or directory");
  Settings log;
  log.log_file = "/tmp";
  REQUIRE_FALSE(prepare_dry_run(log));
  CHECK(prepare_dry_run(log).error().message == "--log-file /tmp: Is a directory");
}

TEST_CASE("dry run: a console's path that no machine takes is still refused") {
  Settings settings = with_console_file("a\nb");
  REQUIRE_FALSE(prepare_dry_run(settings));
  CHECK(prepare_dry_run(settings).error().kind == ErrorKind::kBadData);
}
