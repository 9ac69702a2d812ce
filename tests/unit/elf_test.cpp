// SPDX-License-Identifier: Apache-2.0
#include "boot/elf.h"

#include <fcntl.h>

#include <catch2/catch.hpp>

#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/bzimage_builder.h"
#include "vmm/base/fd.h"

using namespace uvmm;

namespace {

struct Loading {
  Result<LoadedElf> operator()(const std::vector<u8>& file, bool may_map = false) {
    const std::string path = directory.file("elf", file);
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return load_elf({fd.get(), file.size(), may_map}, ram.memory());
  }
  std::string refusal(const std::vector<u8>& file) {
    const auto elf = (*this)(file);
    return elf ? "loaded" : elf.error().message;
  }

  TemporaryDirectory directory;
  BootRam ram;
};

const std::vector<u8> kCode = pattern(10'000);

ElfBuilder one_segment() {
  return ElfBuilder().load(16_MiB, kCode);
}

}  // namespace

TEST_CASE("elf: segments go to their physical addresses") {
  const bool may_map = GENERATE(false, true);
  const u64 first = GENERATE(16_MiB, 16_MiB + 0x123);
  const auto data = pattern(5000, 2);
  Loading load;
  const auto elf = load(ElfBuilder().load(first, kCode).load(20_MiB, data, 1_MiB).bytes(), may_map);
  REQUIRE(elf);
  CHECK(elf->entry == guest(first));
  CHECK(elf->range == layout::Range{first, 21_MiB - first});
  CHECK(load.ram.bytes(first, kCode.size()) == kCode);
  CHECK(load.ram.bytes(20_MiB, data.size()) == data);
}

TEST_CASE("elf: around the file's part of a segment memory stays zero") {
  const bool may_map = GENERATE(false, true);
  Loading load;
  REQUIRE(load(ElfBuilder().load(16_MiB + 0x123, kCode, 64_KiB).bytes(), may_map));
  CHECK(load.ram.bytes(16_MiB, 0x123) == std::vector<u8>(0x123));
  const u64 end = 16_MiB + 0x123 + kCode.size();
  CHECK(load.ram.bytes(end, 64_KiB) == std::vector<u8>(64_KiB));
}

TEST_CASE("elf: a segment that shares no page offset with its file is copied even if it may be mapped") {
  auto builder = one_segment();
  builder.segments[0].p_paddr += 0x10;
  builder.header.e_entry += 0x10;
  Loading load;
  REQUIRE(load(builder.bytes(), true));
  CHECK(load.ram.bytes(16_MiB + 0x10, kCode.size()) == kCode);
}

TEST_CASE("elf: what the guest writes to a mapped segment does not reach the file") {
  Loading load;
  const auto file = one_segment().bytes();
  REQUIRE(load(file, true));
  REQUIRE(load.ram.memory().write(guest(16_MiB), u64{0x1122334455667788}));
  CHECK(read_file(load.directory.path("elf")) == file);
}

TEST_CASE("elf: adjoining segments both load") {
  Loading load;
  const auto page = pattern(4096);
  CHECK(load(ElfBuilder().load(16_MiB, page).load(16_MiB + 4096, page).bytes()));
}

TEST_CASE("elf: a segment may end with the last byte of RAM and no later") {
  Loading load;
  CHECK(load(ElfBuilder().load(64_MiB - 4096, pattern(4096)).bytes()));
  CHECK_THAT(load.refusal(ElfBuilder().load(64_MiB - 4096, pattern(4096), 4097).bytes()),
             Catch::Contains("outside the guest's RAM"));
}

TEST_CASE("elf: other machines and other kinds of ELF are refused") {
  Loading load;
  auto builder = one_segment();
  SECTION("32-bit") {
    builder.header.e_ident[EI_CLASS] = ELFCLASS32;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("not for x86-64"));
  }
  SECTION("big-endian") {
    builder.header.e_ident[EI_DATA] = ELFDATA2MSB;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("not for x86-64"));
  }
  SECTION("aarch64") {
    builder.header.e_machine = EM_AARCH64;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("not for x86-64"));
  }
  SECTION("relocatable object") {
    builder.header.e_type = ET_REL;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("not an executable"));
  }
}

TEST_CASE("elf: [case 152] a program header table that is not one is refused") {
  Loading load;
  auto builder = one_segment();
  SECTION("65535 headers") {
    builder.header.e_phnum = 65535;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("65535 ELF program headers"));
  }
  SECTION("no header") {
    builder.header.e_phnum = 0;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("0 ELF program headers"));
  }
  SECTION("headers of no size") {
    builder.header.e_phentsize = 0;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("have 0 bytes each"));
  }
  SECTION("past the end of the file") {
    builder.header.e_phoff = builder.bytes().size() - sizeof(Elf64_Phdr) + 1;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("headers are beyond the end"));
  }
  SECTION("at the end of the address space") {
    builder.header.e_phoff = ~u64{0};
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("headers are beyond the end"));
  }
}

TEST_CASE("elf: [case 152] a segment that is not in the file is refused") {
  Loading load;
  auto builder = one_segment();
  Elf64_Phdr& segment = builder.segments[0];
  SECTION("one byte too long") {
    segment.p_filesz = builder.bytes().size() - segment.p_offset + 1;
    segment.p_memsz = segment.p_filesz;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("beyond the end of the file"));
  }
  SECTION("offset and size overflow") {
    segment.p_offset = ~u64{0} - 0xfff;
    segment.p_filesz = 0x2000;
    segment.p_memsz = 0x2000;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("beyond the end of the file"));
  }
  SECTION("less memory than file") {
    segment.p_memsz = segment.p_filesz - 1;
    CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("bytes of memory"));
  }
}

TEST_CASE("elf: [case 153] a segment where it must not be is refused") {
  Loading load;
  SECTION("zero page, page tables, ACPI: anything below 1 MiB") {
    const u64 at =
        GENERATE(u64{0}, layout::kBootParams, layout::kPageTables, layout::kAcpiTables.start, 1_MiB - 1);
    CHECK_THAT(load.refusal(ElfBuilder().load(at, kCode).bytes()), Catch::Contains("below 1 MiB"));
  }
  SECTION("above RAM") {
    CHECK_THAT(load.refusal(ElfBuilder().load(64_MiB, kCode).bytes()), Catch::Contains("outside"));
  }
  SECTION("wrapping around") {
    CHECK_THAT(load.refusal(ElfBuilder().load(~u64{0} - 0xfff, kCode).bytes()), Catch::Contains("outside"));
  }
  SECTION("2^64 - 1 bytes of memory") {
    CHECK_THAT(load.refusal(ElfBuilder().load(16_MiB, kCode, ~u64{0}).bytes()), Catch::Contains("outside"));
  }
  SECTION("each other") {
    CHECK_THAT(load.refusal(ElfBuilder().load(16_MiB, kCode).load(16_MiB + kCode.size() - 1, kCode).bytes()),
               Catch::Contains("overlap"));
  }
  SECTION("each other, the earlier behind and its bss beneath") {
    CHECK_THAT(load.refusal(ElfBuilder().load(20_MiB, kCode).load(16_MiB, kCode, 4_MiB + 1).bytes()),
               Catch::Contains("overlap"));
  }
}

TEST_CASE("elf: an entry point outside of what was loaded is refused") {
  Loading load;
  auto builder = one_segment();
  builder.header.e_entry = GENERATE(u64{0}, 16_MiB - 1, 16_MiB + kCode.size(), ~u64{0});
  CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("entry point"));
}

TEST_CASE("elf: nothing to load is refused") {
  Loading load;
  auto builder = one_segment();
  SECTION("no PT_LOAD") {
    builder.segments[0].p_type = PT_DYNAMIC;
  }
  SECTION("an empty PT_LOAD") {
    builder.segments[0].p_filesz = 0;
    builder.segments[0].p_memsz = 0;
  }
  CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("no ELF segment to load"));
}

TEST_CASE("elf: [case 154] a note of no size, or one larger than the file, is refused") {
  Loading load;
  auto builder = one_segment();
  builder.load(20_MiB, kCode);
  builder.segments[1].p_type = PT_NOTE;
  builder.segments[1].p_filesz = GENERATE(u64{0}, u64{0xffff'ffff});
  CHECK_THAT(load.refusal(builder.bytes()), Catch::Contains("note") || Catch::Contains("beyond the end"));
}

TEST_CASE("elf: [case 154] what a note says of its own size is not read") {
  Loading load;
  auto builder = one_segment();
  builder.load(20_MiB, std::vector<u8>(24, 0xff));
  builder.segments[1].p_type = PT_NOTE;
  CHECK(load(builder.bytes()));
}

TEST_CASE("elf: a file that lost its end since it was examined is refused") {
  Loading load;
  const auto file = one_segment().bytes();
  const std::string path = load.directory.file("cut", std::span(file).first(file.size() - 9000));
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto elf = load_elf({fd.get(), file.size(), false}, load.ram.memory());
  REQUIRE(!elf);
  CHECK_THAT(elf.error().message, Catch::Contains("ends too early"));
}
