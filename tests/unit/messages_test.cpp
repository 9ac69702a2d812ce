// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <catch2/catch.hpp>

#include "vmm/command/messages.h"

using namespace uvmm;
using namespace uvmm::command;

TEST_CASE("messages: one line and a hint") {
  CHECK(text_message("", LogLevel::kError, "cannot open /dev/kvm: Permission denied", "join group kvm") ==
        "error: cannot open /dev/kvm: Permission denied\n  hint: join group kvm\n");
  CHECK(text_message("", LogLevel::kInfo, "hello", "") == "info: hello\n");
  CHECK(text_message("2001-02-03T04:05:06.789Z", LogLevel::kWarning, "x", "") ==
        "2001-02-03T04:05:06.789Z warning: x\n");
}

TEST_CASE("messages: JSON is one object on one line whatever is in the message") {
  CHECK(
      json_message("T", LogLevel::kError, "vm1", "a \"b\"\nc", "d") ==
      "{\"time\":\"T\",\"level\":\"error\",\"vm\":\"vm1\",\"message\":\"a \\\"b\\\"\\nc\",\"hint\":\"d\"}\n");
  const std::string broken = json_message("T", LogLevel::kDebug, "", "\xff\x1b", "");
  CHECK(broken == "{\"time\":\"T\",\"level\":\"debug\",\"message\":\"\xef\xbf\xbd\\u001b\"}\n");
}

TEST_CASE("messages: a running VM does not wait for a reader of standard error that has stopped") {
  int pipe_ends[2];
  REQUIRE(::pipe(pipe_ends) == 0);
  const int before = ::dup(STDERR_FILENO);
  REQUIRE(::dup2(pipe_ends[1], STDERR_FILENO) == STDERR_FILENO);
  Messages messages;
  for (int i = 0; i < 1000; ++i) messages.log_of_vm(LogLevel::kWarning, std::string(6000, 'x'));
  ::dup2(before, STDERR_FILENO);
  for (const int fd : {before, pipe_ends[0], pipe_ends[1]}) ::close(fd);
  SUCCEED("it came here");
}
