// SPDX-License-Identifier: Apache-2.0
#include "boot/initrd.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/skip.h"

using namespace uvmm;

namespace {

struct Loading {
  Loading() {
    kernel.range = {16_MiB, 4_MiB};
    kernel.header.initrd_addr_max = 0x7fff'ffff;
  }
  Result<layout::Range> operator()(const std::vector<std::string>& paths) {
    return load_initrds(paths, ram.memory(), kernel);
  }
  std::string refusal(const std::vector<std::string>& paths) {
    const auto range = (*this)(paths);
    return range ? "loaded" : range.error().message;
  }

  TemporaryDirectory directory;
  BootRam ram;
  LoadedKernel kernel;
};

}  // namespace

TEST_CASE("initrd: no files, no initrd") {
  Loading load;
  const auto range = load({});
  REQUIRE(range);
  CHECK(*range == layout::Range{});
}

TEST_CASE("initrd: a file lies page-aligned as high as RAM allows") {
  Loading load;
  const auto content = pattern(5000);
  const auto range = load({load.directory.file("a", content)});
  REQUIRE(range);
  CHECK(*range == layout::Range{64_MiB - 8_KiB, 5000});
  CHECK(load.ram.bytes(range->start, 5000) == content);
}

TEST_CASE("initrd: it stays at or below initrd_addr_max") {
  Loading load;
  load.kernel.header.initrd_addr_max = 32_MiB - 1;
  const auto range = load({load.directory.file("a", pattern(4096))});
  REQUIRE(range);
  CHECK(range->end() == 32_MiB);
}

TEST_CASE("initrd: several files follow each other on multiples of four bytes") {
  Loading load;
  const auto range = load(
      {load.directory.file("a", "12345"), load.directory.file("b", "abcd"), load.directory.file("c", "xy")});
  REQUIRE(range);
  CHECK(range->bytes == 14);
  CHECK(load.ram.text(range->start, 14) == std::string("12345\0\0\0abcdxy", 14));
}

TEST_CASE("initrd: it may fill all that is free") {
  Loading load;
  const auto range = load({load.directory.sparse_file("a", 44_MiB)});
  REQUIRE(range);
  CHECK(*range == layout::Range{20_MiB, 44_MiB});
}

TEST_CASE("initrd: [case 155] one that overlaps the kernel, or is larger than RAM, is refused") {
  Loading load;
  SECTION("by a byte") {
    CHECK_THAT(load.refusal({load.directory.sparse_file("a", 44_MiB + 1)}),
               Catch::Contains("46137345 bytes") && Catch::Contains("46137344 left"));
  }
  SECTION("by far") {
    CHECK_THAT(load.refusal({load.directory.sparse_file("a", 100_GiB)}),
               Catch::Contains("107374182400 bytes"));
  }
  SECTION("together with others") {
    CHECK_THAT(load.refusal({load.directory.sparse_file("a", 44_MiB), load.directory.file("b", "x")}),
               Catch::Contains("1 bytes after 46137344 of others"));
  }
  SECTION("with a kernel up to the end") {
    load.kernel.range = {16_MiB, 48_MiB};
    CHECK_THAT(load.refusal({load.directory.file("a", "x")}), Catch::Contains("0 left"));
  }
}

TEST_CASE("initrd: [case 155] one that shrinks while it is loaded is refused") {
  Loading load;
  // A file of /proc has a length of 0 or, here, one that it does not keep: the kernel offers 4096 bytes.
  const std::string path = "/sys/kernel/mm/transparent_hugepage/enabled";
  if (!std::filesystem::exists(path)) skip("no " + path);
  CHECK_THAT(load.refusal({path}), Catch::Contains("became shorter"));
}

TEST_CASE("initrd: [case 155] what is no regular file with content is refused") {
  Loading load;
  SECTION("missing") {
    CHECK_THAT(load.refusal({load.directory.path("none")}), Catch::Contains("No such file"));
  }
  SECTION("directory") {
    CHECK_THAT(load.refusal({"/"}), Catch::Contains("directory"));
  }
  SECTION("empty") {
    CHECK_THAT(load.refusal({load.directory.file("a", "")}), Catch::Contains("empty"));
  }
  SECTION("FIFO") {
    const std::string fifo = load.directory.path("fifo");
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    CHECK_THAT(load.refusal({fifo}), Catch::Contains("not a regular file"));
  }
}
