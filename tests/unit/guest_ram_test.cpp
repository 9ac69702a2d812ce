// SPDX-License-Identifier: Apache-2.0
#include "vmm/guest_ram.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

using namespace uvmm;
using Catch::Contains;

namespace {

struct Mapped {
  std::string head, flags;
  long resident_kib = 0;
};

// What the kernel says of the RAM behind its first 2 MiB.
Mapped look(const MemoryConfig& config) {
  const auto ram = GuestRam::create(config);
  REQUIRE(ram);
  const u8* const start = ram->memory().regions()[0].bytes.data();
  CHECK(reinterpret_cast<u64>(start) % 2_MiB == 0);
  const u64 at = reinterpret_cast<u64>(start) + 2_MiB;
  std::ifstream smaps("/proc/self/smaps");
  Mapped found;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long long from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx ", &from, &to) == 2) {
      ours = from <= at && at < to;
      if (ours) found.head = line;
    } else if (ours && line.starts_with("Rss:")) {
      found.resident_kib = std::strtol(line.c_str() + 4, nullptr, 10);
    } else if (ours && line.starts_with("VmFlags:")) {
      found.flags = line.substr(8) + " ";
    }
  }
  return found;
}

}  // namespace

TEST_CASE("guest ram: private, with transparent huge pages, untouched, and in no core dump or child") {
  const Mapped mapped = look({.bytes = 64_MiB});
  CHECK_THAT(mapped.flags, Contains(" hg ") && Contains(" dd ") && Contains(" dc ") && !Contains(" sh ") &&
                               !Contains(" mg "));
  CHECK(mapped.resident_kib == 0);
}

TEST_CASE("guest ram: mergeable") {
  CHECK_THAT(look({.bytes = 64_MiB, .mergeable = true}).flags, Contains(" mg "));
}

TEST_CASE("guest ram: prefault takes all of it at once") {
  CHECK(look({.bytes = 64_MiB, .prefault = true}).resident_kib == 62 * 1024);
}

TEST_CASE("guest ram: shared is a memfd") {
  const Mapped mapped = look({.bytes = 64_MiB, .shared = true});
  CHECK_THAT(mapped.flags, Contains(" sh "));
  CHECK_THAT(mapped.head, Contains("memfd:guest-ram"));
}

TEST_CASE("guest ram: reserved huge pages, or how to reserve them") {
  std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  long pages = 0;
  file >> pages;
  const MemoryConfig config{.bytes = 64_MiB, .hugepages = true};
  if (pages >= 32) {
    CHECK_THAT(look(config).flags, Contains(" ht "));
  } else {
    const auto ram = GuestRam::create(config);
    REQUIRE_FALSE(ram);
    CHECK_THAT(ram.error().hint, Contains("vm.nr_hugepages=32"));
  }
}
