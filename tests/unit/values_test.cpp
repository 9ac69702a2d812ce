// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "vmm/command/failure.h"
#include "vmm/command/items.h"
#include "vmm/command/values.h"

using namespace uvmm;
using namespace uvmm::command;

TEST_CASE("values: sizes are powers of 1024, up to the last that fits") {
  std::uint64_t size = 7;
  CHECK(Size::parse("1K", size).empty());
  CHECK(size == 1024);
  CHECK(Size::parse("16777215T", size).empty());
  CHECK(size == 16777215ull << 40);
  CHECK(Size::parse("18446744073709551615", size).empty());
  CHECK(size == 18446744073709551615ull);
  CHECK_FALSE(Size::parse("16777216T", size).empty());
  CHECK(size == 18446744073709551615ull);  // left alone
}

TEST_CASE("values: a size is printed with the largest unit that loses nothing") {
  CHECK(Size::print(512 << 20) == "\"512M\"");
  CHECK(Size::print(1536 << 20) == "\"1536M\"");
  CHECK(Size::print(1000) == "\"1000\"");
  CHECK(Size::print(0) == "\"0\"");
}

TEST_CASE("values: automatic ones are written as such") {
  std::uint16_t queues = 3;
  CHECK(CountOrAuto::parse("auto", queues).empty());
  CHECK(queues == 0);
  CHECK(CountOrAuto::print(queues) == "\"auto\"");
  std::optional<bool> flag = true;
  CHECK(FlagOrAuto::parse("auto", flag).empty());
  CHECK(FlagOrAuto::print(flag) == "\"auto\"");
}

TEST_CASE("values: a TOML string escapes what TOML does not allow in one") {
  CHECK(toml_string("a\"b\\c\n\x7f") == "\"a\\\"b\\\\c\\u000a\\u007f\"");
  CHECK(toml_string("\xc3\xa9") == "\"\xc3\xa9\"");
}

TEST_CASE("items: commas, doubled commas and equals signs") {
  const Items items = split_items("first,,1,key=a=b,,c,flag");
  CHECK(items.first == "first,1");
  REQUIRE(items.rest.size() == 2);
  CHECK(items.rest[0].key == "key");
  CHECK(items.rest[0].value == "a=b,c");
  CHECK(items.rest[1].key == "flag");
  CHECK(items.rest[1].value == std::nullopt);
}

TEST_CASE("items: three commas are one literal and one separator") {
  const Items items = split_items("a,,,ro");
  CHECK(items.first == "a,");
  REQUIRE(items.rest.size() == 1);
  CHECK(items.rest[0].key == "ro");
}

TEST_CASE("items: nothing is nothing, and a trailing comma an empty key") {
  CHECK(split_items("").first.empty());
  CHECK(split_items("").rest.empty());
  CHECK(split_items("a,").rest.size() == 1);
}

TEST_CASE("failure: the nearest word is near") {
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("memroy", "memory") == 1);
  CHECK(nearest("seriel", std::array<std::string_view, 2>{"root", "serial"}) == "serial");
  CHECK(nearest("xyz", std::array<std::string_view, 2>{"root", "serial"}).empty());
}

TEST_CASE("failure: quoted text is short and printable") {
  CHECK(quote("a\tb") == "a\\x09b");
  CHECK(quote(std::string(100000, 'a')).size() < 200);
}
