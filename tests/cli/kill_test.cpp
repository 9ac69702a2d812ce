// SPDX-License-Identifier: Apache-2.0
// A monitor that is killed. The host lives on and with it its page cache, so that this tells what was written
// and not what is durable: that a flush ends after the fsync of all that came before is in
// tests/unit/block_test.cpp.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "tests/cli/process.h"
#include "vmm/base/fd.h"

using namespace uvmm::test;

namespace {

constexpr std::size_t kRecordBytes = 4096;
constexpr std::size_t kRecords = 16384;

// The last number that was reported with a whole line.
std::uint64_t last_reported(const std::string& output) {
  std::istringstream lines(output.substr(0, output.rfind('\n') + 1));
  std::uint64_t last = 0, number = 0;
  for (std::string word; lines >> word >> number;) last = number;
  return last;
}

bool is_whole(std::ifstream& image, std::uint64_t number) {
  std::array<std::uint64_t, kRecordBytes / sizeof number> record;
  image.seekg(static_cast<std::streamoff>(number * kRecordBytes));
  image.read(reinterpret_cast<char*>(record.data()), kRecordBytes);
  return image && std::ranges::all_of(record, [=](std::uint64_t word) { return word == number; });
}

}  // namespace

TEST_CASE("kill: what a guest has flushed is in the image when the monitor is killed at any moment") {
  need_kvm();
  const Directory directory;
  const std::string image = directory.file("image");
  std::random_device seed;
  std::uniform_int_distribution<int> moment(20'000, 250'000);  // microseconds; it takes some to start
  directory.write("image", "");
  const bool direct = uvmm::Fd(::open(image.c_str(), O_RDWR | O_DIRECT)).get() >= 0;
  const int kills = std::getenv("UVMM_TEST_FULL") ? 100 : 10;
  int counted = 0;  // those that came after the first record
  for (int tries = 0; counted < kills; ++tries) {
    REQUIRE(tries < 10 * kills);
    directory.write("image", "");
    std::filesystem::resize_file(image, kRecords * kRecordBytes);
    Process uvmm({"--kernel", UVMM_PAYLOADS "/records.elf", "--memory=64M", "--disk",
                  image + (direct && tries % 2 ? ",direct" : "")});
    std::this_thread::sleep_for(std::chrono::microseconds(moment(seed)));
    uvmm.signal(SIGKILL);
    const Ending ending = uvmm.wait();
    INFO(ending.output << ending.errors);
    REQUIRE(ending.status == 128 + SIGKILL);

    const std::uint64_t last = last_reported(ending.output);
    std::ifstream content(image, std::ios::binary);
    for (std::uint64_t number = 1; number <= last; ++number) REQUIRE(is_whole(content, number));
    counted += last > 0;
  }
}
