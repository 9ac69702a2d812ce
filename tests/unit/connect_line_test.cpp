// SPDX-License-Identifier: Apache-2.0
#include "devices/connect_line.h"

#include <catch2/catch.hpp>

namespace uvmm {
namespace {

TEST_CASE("connect line: the word and a port") {
  CHECK(parse_connect_line("CONNECT 22") == 22);
  CHECK(parse_connect_line("connect 0") == 0);
  CHECK(parse_connect_line("  Connect \t 4294967294 \r") == 4294967294);
}

TEST_CASE("[case 132] connect line: anything else is refused") {
  const char* const line =
      GENERATE("", " ", "CONNECT", "CONNECT ", "CONNECT22", "CONNECT -1", "CONNECT +1", "CONNECT 0x16",
               "CONNECT 22 23", "CONNECT 22x", "CONNECT 4294967295", "CONNECT 4294967296",
               "CONNECT 99999999999", "CONNECTED 22", "GET / HTTP/1.1", "CONNECT \xff");
  CHECK_FALSE(parse_connect_line(line));
}

TEST_CASE("[case 132] connect line: a NUL is no blank") {
  CHECK_FALSE(parse_connect_line({"CONNECT 22\0", 11}));
  CHECK_FALSE(parse_connect_line({"\0CONNECT 22", 11}));
}

TEST_CASE("connect line: the answer names the host's port") {
  CHECK(connect_answer(1073741824) == "OK 1073741824\n");
}

}  // namespace
}  // namespace uvmm
