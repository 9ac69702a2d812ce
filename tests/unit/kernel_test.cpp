// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/bzimage_builder.h"

using namespace uvmm;

namespace {

const std::vector<u8> kCode = pattern(100'000);

struct Loading {
  Result<LoadedKernel> operator()(const std::string& path, bool may_map = true) {
    ram = std::make_unique<BootRam>();
    return load_kernel({path, cache, may_map}, ram->memory(), log);
  }
  Result<LoadedKernel> operator()(const std::vector<u8>& file, bool may_map = true) {
    return (*this)(directory.file("kernel", file), may_map);
  }
  template <typename Source>
  std::string refusal(const Source& source) {
    const auto kernel = (*this)(source);
    return kernel ? "loaded" : kernel.error().message;
  }
  std::vector<u8> loaded() const { return ram->bytes(16_MiB, kCode.size()); }
  std::vector<std::string> cached(std::string_view suffix) const {
    std::vector<std::string> paths;
    for (const auto& item : std::filesystem::directory_iterator(cache))
      if (item.path().string().ends_with(suffix)) paths.push_back(item.path());
    return paths;
  }

  TemporaryDirectory directory;
  std::string cache = directory.path("cache");
  std::unique_ptr<BootRam> ram;
  Log log;
};

u64 peak_memory_kib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return u64(usage.ru_maxrss);
}

}  // namespace

TEST_CASE("kernel: a bzImage is unpacked and entered where its vmlinux says") {
  Loading load;
  if (GENERATE(false, true)) load.cache.clear();
  const auto kernel = load(make_gzip_bzimage(make_vmlinux(kCode)), GENERATE(false, true));
  REQUIRE(kernel);
  CHECK(kernel->entry == guest(16_MiB));
  CHECK(kernel->range == layout::Range{16_MiB, 4_MiB});  // pref_address and init_size
  CHECK(kernel->header.cmdline_size == 2047);
  CHECK(load.loaded() == kCode);
}

TEST_CASE("kernel: a vmlinux is loaded as it is") {
  Loading load;
  const auto kernel = load(make_vmlinux(kCode));
  REQUIRE(kernel);
  CHECK(kernel->entry == guest(16_MiB));
  CHECK(kernel->range == layout::Range{16_MiB, 100'000});
  CHECK(kernel->header.header == 0x53726448);
  CHECK(kernel->header.cmdline_size == 2047);
  CHECK(load.loaded() == kCode);
}

TEST_CASE("kernel: the user's vmlinux may change while the guest runs on what it was") {
  Loading load;
  REQUIRE(load(make_vmlinux(kCode)));
  std::filesystem::resize_file(load.directory.path("kernel"), 0);
  CHECK(load.loaded() == kCode);
}

TEST_CASE("kernel: a vmlinux larger than the header asks for extends what is taken") {
  Loading load;
  const auto kernel = load(make_gzip_bzimage(ElfBuilder().load(16_MiB, kCode, 6_MiB).bytes()));
  REQUIRE(kernel);
  CHECK(kernel->range == layout::Range{16_MiB, 6_MiB});
}

TEST_CASE("kernel: a second start takes it from the cache") {
  Loading load;
  const auto image = make_gzip_bzimage(make_vmlinux(kCode));
  REQUIRE(load(image));
  const auto entries = load.cached(".vmlinux");
  REQUIRE(entries.size() == 1);
  const auto written = std::filesystem::last_write_time(entries[0]);
  REQUIRE(load(image));
  CHECK(load.loaded() == kCode);
  CHECK(std::filesystem::last_write_time(entries[0]) == written);
}

TEST_CASE("kernel: a file that did not change is found in the cache without being read") {
  Loading load;
  const std::string path = load.directory.file("kernel", make_gzip_bzimage(make_vmlinux(kCode)));
  std::this_thread::sleep_for(std::chrono::milliseconds(2100));  // until its times are believed
  REQUIRE(load(path));
  REQUIRE(load.cached(".key").size() == 1);
  // The entry now has other code than the file, which shows where the second start takes it from.
  const auto other = pattern(kCode.size(), 7);
  auto entry = make_vmlinux(other);
  const auto old = read_file(load.cached(".vmlinux")[0]);
  entry.insert(entry.end(), old.end() - 16, old.end());
  REQUIRE(entry.size() == old.size());
  load.directory.file("cache/" + std::filesystem::path(load.cached(".vmlinux")[0]).filename().string(),
                      entry);
  REQUIRE(load(path));
  CHECK(load.loaded() == other);
}

TEST_CASE("kernel: a cache entry that is damaged is made anew") {
  Loading load;
  const auto image = make_gzip_bzimage(make_vmlinux(kCode));
  REQUIRE(load(image));
  const std::string entry = load.cached(".vmlinux")[0];
  const auto good = read_file(entry);
  auto bad = good;
  std::fill(bad.begin(), bad.begin() + 100, u8{0xff});
  load.directory.file("cache/" + std::filesystem::path(entry).filename().string(), bad);
  REQUIRE(load(image));
  CHECK(load.loaded() == kCode);
  CHECK(read_file(entry) == good);
}

TEST_CASE("kernel: a cache that cannot be written does not matter") {
  Loading load;
  load.cache = load.directory.file("not-a-directory", "") + "/cache";
  REQUIRE(load(make_gzip_bzimage(make_vmlinux(kCode))));
  CHECK(load.loaded() == kCode);
}

TEST_CASE("kernel: a guest's writes do not reach the cache") {
  Loading load;
  const auto image = make_gzip_bzimage(make_vmlinux(kCode));
  REQUIRE(load(image));
  REQUIRE(load.ram->memory().write(guest(16_MiB), u64{0xdead}));
  REQUIRE(load(image));
  CHECK(load.loaded() == kCode);
}

TEST_CASE("kernel: [case 149] what is no regular file with content is refused") {
  Loading load;
  SECTION("missing") {
    CHECK_THAT(load.refusal(load.directory.path("none")), Catch::Contains("No such file"));
  }
  SECTION("empty") {
    CHECK_THAT(load.refusal(load.directory.file("empty", "")), Catch::Contains("it is empty"));
  }
  SECTION("1 byte") {
    CHECK_THAT(load.refusal(load.directory.file("one", "x")), Catch::Contains("neither"));
  }
  SECTION("directory") {
    CHECK_THAT(load.refusal(std::string("/")), Catch::Contains("it is a directory"));
  }
  SECTION("device") {
    CHECK_THAT(load.refusal(std::string("/dev/zero")), Catch::Contains("not a regular file"));
  }
  SECTION("FIFO that no one writes to") {
    const std::string fifo = load.directory.path("fifo");
    REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
    CHECK_THAT(load.refusal(fifo), Catch::Contains("not a regular file"));
  }
}

TEST_CASE("kernel: [case 149] 100 GiB of nothing are refused without being read") {
  Loading load;
  const auto before = peak_memory_kib();
  CHECK_THAT(load.refusal(load.directory.sparse_file("sparse", 100_GiB)),
             Catch::Contains("more than any kernel"));
  CHECK_THAT(load.refusal(load.directory.sparse_file("sparse", 1_GiB)), Catch::Contains("neither"));
  CHECK(peak_memory_kib() - before < 100'000);
}

TEST_CASE("kernel: [case 149] a bzImage of 1 GiB of nothing is refused without being read") {
  Loading load;
  auto image = make_gzip_bzimage(make_vmlinux(kCode));
  header_in(image).payload_offset = 1'000'000;
  header_in(image).payload_length = 1'000'000'000;
  const std::string path = load.directory.file("kernel", image);
  std::filesystem::resize_file(path, 1_GiB);
  const auto before = peak_memory_kib();
  CHECK_THAT(load.refusal(path), Catch::Contains("compression is unknown"));
  CHECK(peak_memory_kib() - before < 100'000);
}

TEST_CASE("kernel: [case 157] 4 KiB of noise are refused") {
  Loading load;
  auto noise = pattern(4096);
  u32 state = 1;
  for (u8& byte : noise) byte = static_cast<u8>((state = state * 1664525 + 1013904223) >> 24);
  CHECK_THAT(load.refusal(noise), Catch::Contains("neither a bzImage nor an ELF file"));
}

TEST_CASE("kernel: a payload that claims another size is refused") {
  Loading load;
  const auto vmlinux = make_vmlinux(kCode);
  SECTION("0 bytes") {
    CHECK_THAT(load.refusal(make_bzimage(gzip(vmlinux), 0)), Catch::Contains("unpack to 0 bytes"));
  }
  SECTION("4 GiB") {
    CHECK_THAT(load.refusal(make_bzimage(gzip(vmlinux), 0xffff'ffff)), Catch::Contains("4294967295"));
  }
  SECTION("1 GiB, which then takes no memory") {
    const auto before = peak_memory_kib();
    CHECK_THAT(load.refusal(make_bzimage(gzip(vmlinux), 1_GiB)), Catch::Contains("where it claims"));
    CHECK(peak_memory_kib() - before < 100'000);
  }
  SECTION("one byte less") {
    CHECK_THAT(load.refusal(make_bzimage(gzip(vmlinux), vmlinux.size() - 1)), Catch::Contains("longer than"));
  }
}

TEST_CASE("kernel: a payload that is no vmlinux is refused, and not cached") {
  Loading load;
  CHECK_THAT(load.refusal(make_gzip_bzimage(pattern(10'000))), Catch::Contains("not an ELF file"));
}

TEST_CASE("kernel: a message names the file once and says why") {
  Loading load;
  const std::string path = load.directory.file("noise", pattern(4096));
  CHECK(load.refusal(path) == "cannot use kernel " + path + ": it is neither a bzImage nor an ELF file");
}
