// SPDX-License-Identifier: Apache-2.0
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
