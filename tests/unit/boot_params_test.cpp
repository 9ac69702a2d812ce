// SPDX-License-Identifier: Apache-2.0
#include "boot/boot_params.h"

#include <catch2/catch.hpp>

#include "tests/fakes/boot_fixture.h"

using namespace uvmm;

namespace {

boot_params params_in(const GuestMemory& memory) {
  const auto params = memory.read<boot_params>(guest(layout::kBootParams));
  REQUIRE(params);
  return *params;
}

struct E820 {
  u64 start, end;
  u32 type;
  bool operator==(const E820&) const = default;
};

std::vector<E820> e820_in(const GuestMemory& memory) {
  const boot_params params = params_in(memory);
  std::vector<E820> entries;
  for (int i = 0; i < params.e820_entries; ++i) {
    const boot_e820_entry& entry = params.e820_table[i];
    entries.push_back({entry.addr, entry.addr + entry.size, entry.type});
  }
  return entries;
}

}  // namespace

TEST_CASE("boot_params: the kernel's header is passed on, with the loader's fields filled in") {
  BootRam ram;
  setup_header header{};
  header.header = 0x53726448;
  header.kernel_alignment = 0x200000;
  header.loadflags = CAN_USE_HEAP | KASLR_FLAG;
  REQUIRE(
      write_boot_params({.header = header, .cmdline = "a b", .initrd = {0x3000000, 12345}}, ram.memory()));
  const boot_params params = params_in(ram.memory());
  CHECK(params.hdr.header == 0x53726448);
  CHECK(params.hdr.kernel_alignment == 0x200000);
  CHECK(params.hdr.type_of_loader == 0xff);
  CHECK(params.hdr.loadflags == LOADED_HIGH);
  CHECK(params.hdr.cmd_line_ptr == 0x20000);
  CHECK(params.hdr.ramdisk_image == 0x3000000);
  CHECK(params.hdr.ramdisk_size == 12345);
  CHECK(params.acpi_rsdp_addr == 0xe0000);
  CHECK(params.sentinel == 0);
}

TEST_CASE("boot_params: the command line ends in a NUL") {
  BootRam ram;
  REQUIRE(ram.memory().write(guest(layout::kCmdline), ~u64{0}));
  REQUIRE(write_boot_params({.cmdline = "a b"}, ram.memory()));
  CHECK(ram.text(layout::kCmdline, 4) == std::string("a b\0", 4));
}

TEST_CASE("boot_params: a command line that has no room is refused") {
  BootRam ram;
  const std::string text(layout::kCmdlineBytes, 'x');
  CHECK_FALSE(write_boot_params({.cmdline = text}, ram.memory()));
  CHECK(write_boot_params({.cmdline = std::string_view(text).substr(1)}, ram.memory()));
}

TEST_CASE("boot_params: the e820 map of RAM in one piece") {
  BootRam ram(64_MiB);
  REQUIRE(write_boot_params({}, ram.memory()));
  CHECK(e820_in(ram.memory()) ==
        std::vector<E820>{
            {0, 0x9fc00, 1}, {0x9fc00, 0x100000, 2}, {0x100000, 64_MiB, 1}, {0xe0000000, 0xe0100000, 2}});
}

TEST_CASE("boot_params: the e820 map of RAM around the hole") {
  const auto low = Mapping::anonymous(3_GiB), high = Mapping::anonymous(13_GiB);
  REQUIRE((low && high));
  const GuestMemory memory({{guest(0), low->bytes()}, {guest(4_GiB), high->bytes()}});
  REQUIRE(write_boot_params({}, memory));
  CHECK(e820_in(memory) == std::vector<E820>{{0, 0x9fc00, 1},
                                             {0x9fc00, 0x100000, 2},
                                             {0x100000, 0xc0000000, 1},
                                             {0xe0000000, 0xe0100000, 2},
                                             {0x100000000, 17_GiB, 1}});
}
