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

TEST_CASE("log: the level can change, and what is below it is not even formatted") {
  std::vector<std::string> lines;
  Log log([&](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning);
  log.debug("no");
  log.set_level(LogLevel::kDebug);
  log.debug("yes");
  log.set_level(LogLevel::kError);
  for (int i = 0; i < 1000; ++i) log.guest("no");  // nor are they counted as dropped
  log.guest_event(Event::Kind::kDeviceError, "disk a", "no");
  log.set_level(LogLevel::kWarning);
  log.guest("yes");
  CHECK(lines == std::vector<std::string>{"yes", "yes"});
}

TEST_CASE("log: without a sink nothing happens") {
  Log log;
  log.error("nobody hears");
  log.guest("nor this");
  SUCCEED();
}

TEST_CASE("log: an event reaches its sink, and as a line the log") {
  std::vector<std::string> lines;
  std::vector<std::string> events;
  Log log([&](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning,
          [&](const Event& event) {
            CHECK(event.kind == Event::Kind::kDeviceError);
            events.push_back(std::string(event.subject) + "|" + std::string(event.detail));
          });
  log.event(Event::Kind::kDeviceError, "disk a", "cannot {}", "flush");
  CHECK(lines == std::vector<std::string>{"disk a: cannot flush"});
  CHECK(events == std::vector<std::string>{"disk a|cannot flush"});
}

TEST_CASE("log: an event without a message is no line") {
  int lines = 0;
  int events = 0;
  Log log([&](LogLevel, std::string_view) { ++lines; }, LogLevel::kDebug, [&](const Event&) { ++events; });
  log.event(Event::Kind::kPaused);
  CHECK(lines == 0);
  CHECK(events == 1);
}

TEST_CASE("log: a guest can bring about only so many events, whether or not there is a log") {
  int events = 0;
  Log log({}, LogLevel::kWarning, [&](const Event&) { ++events; });
  for (int i = 0; i < 100'000; ++i) log.guest_event(Event::Kind::kDeviceError, "disk a", "request {}", i);
  CHECK(events > 0);
  CHECK(events < 50);
}
