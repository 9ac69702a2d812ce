// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/boot_fixture.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>

namespace uvmm {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = std::filesystem::temp_directory_path() / "uvmm-test-XXXXXX";
  if (!::mkdtemp(name.data())) throw std::runtime_error("cannot create " + name);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::file(std::string_view name, std::span<const u8> content) const {
  return file(name, std::string_view(reinterpret_cast<const char*>(content.data()), content.size()));
}

std::string TemporaryDirectory::file(std::string_view name, std::string_view content) const {
  std::ofstream(path(name), std::ios::binary) << content;
  return path(name);
}

std::string TemporaryDirectory::sparse_file(std::string_view name, u64 bytes) const {
  file(name, "");
  std::filesystem::resize_file(path(name), bytes);
  return path(name);
}

std::vector<u8> read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::vector<u8>(std::istreambuf_iterator<char>(stream), {});
}

int run(const std::string& command) {
  return std::system(command.c_str());
}

bool has_command(const std::string& name) {
  return run("command -v " + name + " >/dev/null 2>&1") == 0;
}

BootRam::BootRam(u64 bytes) {
  low_ = Mapping::anonymous(bytes).value();
  memory_ = GuestMemory({{guest(0), low_.bytes()}});
}

std::vector<u8> BootRam::bytes(u64 start, u64 length) const {
  const std::span<u8> run = memory_.slice(guest(start), length).value();
  return {run.begin(), run.end()};
}

std::string BootRam::text(u64 start, u64 length) const {
  const auto content = bytes(start, length);
  return {content.begin(), content.end()};
}

std::vector<u8> pattern(u64 bytes, u32 seed) {
  std::minstd_rand random(seed);
  std::vector<u8> content(bytes);
  for (u64 i = 0; i < bytes; ++i) content[i] = static_cast<u8>(i % 64 < 48 ? i / 64 : random());
  return content;
}

}  // namespace uvmm
