// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/log.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace uvmm;

TEST_CASE("log: lines at or above the level reach the sink") {
  std::vector<std::string> lines;
  Log log([&](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kInfo);
  log.debug("no");
  log.info("disk {} opened", 1);
  log.error("no room");
  CHECK(lines == std::vector<std::string>{"disk 1 opened", "no room"});
}

TEST_CASE("log: a flood of messages about the guest is bounded") {
  int lines = 0;
  Log log([&](LogLevel, std::string_view) { ++lines; }, LogLevel::kDebug);
  for (int i = 0; i < 100'000; ++i) log.guest("queue {} is broken", i);
  CHECK(lines > 0);
  CHECK(lines < 50);
}

TEST_CASE("log: without a sink nothing happens") {
  Log log;
  log.error("nobody hears");
  log.guest("nor this");
  SUCCEED();
}
