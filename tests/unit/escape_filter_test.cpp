// SPDX-License-Identifier: Apache-2.0
#include "devices/escape_filter.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <string_view>

namespace uvmm {
namespace {

struct Typist {
  std::string type(std::string_view keys) {
    std::array<u8, 64> output{};
    const u64 count = filter.filter({reinterpret_cast<const u8*>(keys.data()), keys.size()},
                                    std::span(output).first(keys.size() + 1));
    return {output.begin(), output.begin() + static_cast<i64>(count)};
  }
  EscapeFilter filter;
};

TEST_CASE("escape: ordinary keys pass") {
  CHECK(Typist().type("ls -x\r") == "ls -x\r");
}

TEST_CASE("escape: Ctrl-a x ends the VM, and what follows is not the guest's") {
  Typist typist;
  CHECK(typist.type("ab\x01xcd") == "ab");
  CHECK(typist.filter.quit());
  CHECK(typist.type("ef").empty());
}

TEST_CASE("escape: Ctrl-a a is one Ctrl-a") {
  Typist typist;
  CHECK(typist.type("\x01"
                    "ab") ==
        "\x01"
        "b");
  CHECK(typist.type("x") == "x");
  CHECK_FALSE(typist.filter.quit());
}

TEST_CASE("escape: Ctrl-a before any other key is both") {
  CHECK(Typist().type("\x01"
                      "d") ==
        "\x01"
        "d");
  CHECK(Typist().type("\x01\x01") == "\x01\x01");
}

TEST_CASE("escape: a sequence may come in two pieces") {
  Typist typist;
  CHECK(typist.type("a\x01") == "a");
  CHECK(typist.type("b") ==
        "\x01"
        "b");
  CHECK(typist.type("\x01").empty());
  CHECK(typist.type("x").empty());
  CHECK(typist.filter.quit());
}

}  // namespace
}  // namespace uvmm
