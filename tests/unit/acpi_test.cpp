// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>

#include "arch/x86_64/layout.h"
#include "boot/acpi_tables.h"
#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/skip.h"

using namespace uvmm;

namespace {

u8 sum(std::span<const u8> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), u8{0},
                         [](u8 a, u8 b) { return static_cast<u8>(a + b); });
}

template <typename T>
T at(std::span<const u8> bytes, u64 offset) {
  T value;
  REQUIRE(offset + sizeof(T) <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

// The tables as a guest finds them, from the RSDP on.
struct Tables {
  explicit Tables(u32 cpus) {
    REQUIRE(write_acpi_tables(ram.memory(), cpus));
    rsdp = *ram.memory().read<acpi::RSDP>(guest(layout::kAcpiTables.start));
    xsdt = table(rsdp.XsdtAddress);
    for (u64 offset = 36; offset < xsdt.size(); offset += 8) {
      const auto bytes = table(at<u64>(xsdt, offset));
      by_signature[std::string(bytes.begin(), bytes.begin() + 4)] = bytes;
    }
    by_signature["DSDT"] = table(at<u64>(by_signature["FACP"], 140));
  }

  std::vector<u8> table(u64 start) const {
    CHECK(start % 16 == 0);
    CHECK(start >= layout::kAcpiTables.start);
    const auto header = ram.memory().read<acpi::DESCRIPTION_HEADER>(guest(start));
    REQUIRE(header);
    CHECK(start + header->Length <= layout::kAcpiTables.end());
    return ram.bytes(start, header->Length);
  }

  BootRam ram{2_MiB};
  acpi::RSDP rsdp;
  std::vector<u8> xsdt;
  std::map<std::string, std::vector<u8>> by_signature;
};

}  // namespace

TEST_CASE("acpi: the RSDP leads to all tables, and every sum is right") {
  Tables tables(4);
  CHECK(std::memcmp(tables.rsdp.Signature, "RSD PTR ", 8) == 0);
  const std::span bytes(reinterpret_cast<const u8*>(&tables.rsdp), sizeof(tables.rsdp));
  CHECK(sum(bytes.first(20)) == 0);
  CHECK(sum(bytes) == 0);
  CHECK(sum(tables.xsdt) == 0);
  CHECK(tables.by_signature.size() == 4);
  for (const auto& [signature, table] : tables.by_signature) {
    INFO(signature);
    CHECK(sum(table) == 0);
  }
}

TEST_CASE("acpi: the FADT says hardware-reduced, and where to reset and sleep") {
  Tables tables(1);
  const auto& fadt = tables.by_signature["FACP"];
  CHECK(fadt.size() == 276);
  CHECK(fadt[8] == 6);
  CHECK((at<u32>(fadt, 112) & 1 << 20) != 0);
  CHECK((at<u32>(fadt, 112) & 1 << 10) != 0);
  CHECK(at<u16>(fadt, 109) == 0b100100);   // no VGA, no CMOS RTC; and neither legacy devices nor an 8042
  CHECK(at<u64>(fadt, 116 + 4) == 0x600);  // RESET_REG
  CHECK(fadt[128] == layout::kResetValue);
  CHECK(at<u64>(fadt, 244 + 4) == 0x601);  // SLEEP_CONTROL_REG
  CHECK(at<u64>(fadt, 256 + 4) == 0x602);  // SLEEP_STATUS_REG
}

TEST_CASE("acpi: the MADT has a local APIC for each CPU and nothing else") {
  Tables tables(3);
  const auto& madt = tables.by_signature["APIC"];
  REQUIRE(madt.size() == 44 + 3 * 8);
  CHECK(at<u32>(madt, 36) == 0xfee00000);
  CHECK(at<u32>(madt, 40) == 0);
  for (u32 cpu = 0; cpu < 3; ++cpu) {
    CHECK(at<u32>(madt, 44 + cpu * 8) == (0x0800 | cpu << 16 | cpu << 24));
    CHECK(at<u32>(madt, 44 + cpu * 8 + 4) == 1);
  }
}

TEST_CASE("acpi: APIC ids from 255 on are x2APIC entries") {
  Tables tables(257);
  const auto& madt = tables.by_signature["APIC"];
  REQUIRE(madt.size() == 44 + 255 * 8 + 2 * 16);
  const u64 first = 44 + 255 * 8;
  CHECK(madt[first] == 9);
  CHECK(at<u32>(madt, first + 4) == 255);
  CHECK(at<u32>(madt, first + 16 + 4) == 256);
}

TEST_CASE("acpi: the MCFG has bus 0") {
  Tables tables(1);
  const auto& mcfg = tables.by_signature["MCFG"];
  REQUIRE(mcfg.size() == 60);
  CHECK(at<u64>(mcfg, 44) == layout::kEcam.start);
  CHECK(at<u32>(mcfg, 52) == 0);  // segment 0, buses 0 to 0
}

TEST_CASE("acpi: more CPUs than tables have room for are refused") {
  BootRam ram(2_MiB);
  CHECK(write_acpi_tables(ram.memory(), 4000));
  CHECK_FALSE(write_acpi_tables(ram.memory(), 5000));
  CHECK(ram.bytes(layout::kSmbios.start, layout::kSmbios.bytes) == std::vector<u8>(layout::kSmbios.bytes));
}

TEST_CASE("acpi: memory without room for the tables is refused") {
  BootRam ram(512_KiB);
  CHECK_FALSE(write_acpi_tables(ram.memory(), 1));
}

TEST_CASE("acpi: iasl disassembles every table without complaint") {
  if (!has_command("iasl")) skip("no program iasl");
  Tables tables(257);
  const TemporaryDirectory directory;
  tables.by_signature["XSDT"] = tables.xsdt;
  for (const auto& [signature, table] : tables.by_signature) {
    INFO(signature);
    const std::string path = directory.file(signature + ".aml", table);
    CHECK(run("cd " + directory.path("") + " && iasl -d " + signature + ".aml >log 2>&1") == 0);
    const auto log = read_file(directory.path("log"));
    const std::string text(log.begin(), log.end());
    INFO(text);
    CHECK_THAT(text, !Catch::Contains("rror") && !Catch::Contains("arning"));
    const auto source = read_file(directory.path(signature + ".dsl"));
    CHECK_THAT(std::string(source.begin(), source.end()),
               !Catch::Contains("rror") && !Catch::Contains("nvalid"));
  }
}

TEST_CASE("acpi: the compiled DSDT is that of its source, and has the layout's addresses") {
  const auto source = std::filesystem::path(__FILE__).parent_path() / "../../boot";
  if (!has_command("iasl") || !std::filesystem::exists(source / "dsdt.sh"))
    skip("no program iasl, or no source tree");
  const TemporaryDirectory directory;
  const std::string again = directory.path("dsdt_aml.inc");
  REQUIRE(run((source / "dsdt.sh").string() + " " + again) == 0);
  auto made = read_file(again), stored = read_file(source / "dsdt_aml.inc");
  // The compiler's revision (bytes 32-35) and so the sum (byte 9) are those of the machine at hand.
  const std::string comment(stored.begin(), std::find(stored.begin(), stored.end(), '\n') + 1);
  REQUIRE(made.size() == stored.size());
  for (const u64 byte : {9, 32, 33, 34, 35}) {
    const u64 position = comment.size() + byte / 16 * 96 + byte % 16 * 6;
    std::fill_n(made.begin() + i64(position), 4, '?');
    std::fill_n(stored.begin() + i64(position), 4, '?');
  }
  CHECK(made == stored);

  Tables tables(1);
  const auto contains = [&](u32 value) {
    const auto& dsdt = tables.by_signature["DSDT"];
    const auto* const bytes = reinterpret_cast<const u8*>(&value);
    return std::search(dsdt.begin(), dsdt.end(), bytes, bytes + sizeof(value)) != dsdt.end();
  };
  CHECK(contains(layout::kPciWindow.start));
  CHECK(contains(layout::kPciWindow.end() - 1));
  CHECK(contains(layout::kEcam.start));
  CHECK(contains(layout::kPanicPort | layout::kPanicPort << 16));
}
