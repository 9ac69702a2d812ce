// SPDX-License-Identifier: Apache-2.0
#include "boot/input_file.h"

#include <catch2/catch.hpp>

#include "tests/fakes/boot_fixture.h"

using namespace uvmm;

TEST_CASE("input file: the kind of error tells what is wrong") {
  const TemporaryDirectory directory;
  const auto missing = open_input_file("kernel", directory.path("none"));
  REQUIRE(!missing);
  CHECK(missing.error().kind == ErrorKind::kNoInput);
  CHECK(missing.error().message ==
        "cannot open kernel " + directory.path("none") + ": No such file or directory");
  const auto empty = open_input_file("kernel", directory.file("empty", ""));
  REQUIRE(!empty);
  CHECK(empty.error().kind == ErrorKind::kBadData);
}

TEST_CASE("input file: exactly what is asked for is read, or an error") {
  const TemporaryDirectory directory;
  const auto file = open_input_file("kernel", directory.file("a", "0123456789"));
  REQUIRE(file);
  CHECK(file->bytes() == 10);
  std::array<u8, 4> target{};
  CHECK(read_exactly(file->fd.get(), target, 6) == 0);
  CHECK(target == std::array<u8, 4>{'6', '7', '8', '9'});
  CHECK(read_exactly(file->fd.get(), target, 7) == -1);
  CHECK(read_exactly(-1, target, 0) == EBADF);
}
