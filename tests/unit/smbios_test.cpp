// SPDX-License-Identifier: Apache-2.0
#include "boot/smbios.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <vector>

#include "arch/x86_64/layout.h"
#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/skip.h"

using namespace uvmm;

namespace {

constexpr std::array<u8, 16> kUuid = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                      0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

struct Structure {
  std::vector<u8> formatted;  // with its header
  std::vector<std::string> strings;
};

// The structures as a guest finds them, from the anchor on.
std::vector<Structure> structures_of(const BootRam& ram) {
  const std::vector<u8> area = ram.bytes(layout::kSmbios.start, layout::kSmbios.bytes);
  REQUIRE(std::memcmp(area.data(), "_SM3_", 5) == 0);
  REQUIRE(static_cast<u8>(std::accumulate(area.begin(), area.begin() + area[6], 0)) == 0);
  u32 bytes = 0;
  u64 address = 0;
  std::memcpy(&bytes, &area[12], 4);
  std::memcpy(&address, &area[16], 8);
  u64 at = address - layout::kSmbios.start;
  const u64 end = at + bytes;
  REQUIRE(end <= area.size());

  std::vector<Structure> found;
  while (at < end) {
    Structure structure;
    structure.formatted.assign(&area[at], &area[at] + area[at + 1]);
    at += area[at + 1];
    if (area[at] == 0) ++at;  // an empty set is two NULs
    while (area[at] != 0) {
      structure.strings.emplace_back(reinterpret_cast<const char*>(&area[at]));
      at += structure.strings.back().size() + 1;
    }
    ++at;
    found.push_back(structure);
  }
  CHECK(at == end);
  return found;
}

}  // namespace

TEST_CASE("smbios: vendor, UUID and the end of the table") {
  const BootRam ram(2_MiB);
  REQUIRE(write_smbios_tables(ram.memory(), {.uuid = kUuid}));
  const auto structures = structures_of(ram);
  REQUIRE(structures.size() == 3);
  CHECK(structures[0].formatted[0] == 0);
  CHECK(structures[1].formatted[0] == 1);
  CHECK(structures[1].strings == std::vector<std::string>{"uvmm", "uvmm virtual machine"});
  CHECK(structures[2].formatted[0] == 127);
  // The first three fields are little-endian, so that the guest shows 00112233-4455-6677-8899-aabbccddeeff.
  const std::vector<u8> uuid(&structures[1].formatted[8], &structures[1].formatted[24]);
  CHECK(uuid == std::vector<u8>{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
                                0xdd, 0xee, 0xff});
}

TEST_CASE("smbios: a UUID is read as people write it, and nothing else is") {
  CHECK(parse_uuid("00112233-4455-6677-8899-aabbccddeeff") == kUuid);
  CHECK(parse_uuid("00112233-4455-6677-8899-AABBCCDDEEFF") == kUuid);
  for (const char* const wrong :
       {"", "00112233-4455-6677-8899-aabbccddeef", "0011223344556677-8899-aabbccddeeff00",
        "00112233-4455-6677-8899-aabbccddeefg", "{0112233-4455-6677-8899-aabbccddeef}",
        "00112233-4455-6677-8899-aabbccddeeff0", "-0112233-4455-6677-8899-aabbccddeeff"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_uuid(wrong));
  }
}

TEST_CASE("smbios: OEM strings are in their order") {
  const BootRam ram(2_MiB);
  const std::vector<std::string> strings = {"io.systemd.credential:a=b", "second"};
  REQUIRE(write_smbios_tables(ram.memory(), {.oem_strings = strings}));
  const auto structures = structures_of(ram);
  REQUIRE(structures.size() == 4);
  CHECK(structures[2].formatted[0] == 11);
  CHECK(structures[2].formatted[4] == 2);
  CHECK(structures[2].strings == strings);
}

TEST_CASE("smbios: more than fits is refused, and nothing is written") {
  const BootRam ram(2_MiB);
  const std::vector<std::string> strings = {std::string(64_KiB, 'x')};
  CHECK_FALSE(write_smbios_tables(ram.memory(), {.oem_strings = strings}));
  CHECK(ram.bytes(layout::kSmbios.start, 64) == std::vector<u8>(64));
}

TEST_CASE("smbios: memory without room for the tables is refused") {
  const BootRam ram(512_KiB);
  CHECK_FALSE(write_smbios_tables(ram.memory(), {}));
}

TEST_CASE("smbios: dmidecode reads it without complaint") {
  if (!has_command("dmidecode")) skip("no program dmidecode");
  const BootRam ram(2_MiB);
  const std::vector<std::string> strings = {"io.systemd.credential:a=b"};
  REQUIRE(write_smbios_tables(ram.memory(), {.uuid = kUuid, .oem_strings = strings}));
  const TemporaryDirectory directory;
  // A dump as dmidecode --dump-bin writes it: the entry point says where in the file the table is.
  std::vector<u8> dump = ram.bytes(layout::kSmbios.start, 4096);
  const u64 table = 32;
  std::memcpy(&dump[16], &table, 8);
  dump[5] = 0;
  dump[5] = static_cast<u8>(-std::accumulate(dump.begin(), dump.begin() + 24, 0));
  const std::string output = directory.path("output");
  REQUIRE(run("dmidecode --from-dump " + directory.file("dump", dump) + " >" + output + " 2>&1") == 0);
  const auto bytes = read_file(output);
  const std::string text(bytes.begin(), bytes.end());
  CAPTURE(text);
  CHECK(text.find("UUID: 00112233-4455-6677-8899-aabbccddeeff") != std::string::npos);
  CHECK(text.find("io.systemd.credential:a=b") != std::string::npos);
  CHECK(text.find("virtual machine") != std::string::npos);
  CHECK(text.find("Wrong") == std::string::npos);
}
