// SPDX-License-Identifier: Apache-2.0
// Payload guests (guest-images/payloads) as whole VMs, and what they need of the host. One thread each.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <catch2/catch.hpp>
#include <uvmm/uvmm.hpp>

#include "tests/fakes/heap.h"

namespace uvmm {

// A pipe that stands for the console.
class ConsolePipe {
 public:
  ConsolePipe() {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    read_end_ = ends[0];
    write_end_ = ends[1];
  }
  ConsolePipe(const ConsolePipe&) = delete;
  ConsolePipe& operator=(const ConsolePipe&) = delete;
  ~ConsolePipe() {
    ::close(read_end_);
    ::close(write_end_);
  }

  int write_end() const { return write_end_; }

  // Appends what comes until `text` ends with `end`, or for half a minute.
  void read_until(std::string& text, std::string_view end) const {
    for (int left = 3000; left > 0 && !text.ends_with(end); --left) {
      const std::string more = this->text();
      text += more;
      if (more.empty()) ::usleep(10'000);
    }
  }

  // All that is there; does not wait.
  std::string text() const {
    std::string text(64 << 10, '\0');
    ::fcntl(read_end_, F_SETFL, O_NONBLOCK);
    const ssize_t bytes = ::read(read_end_, text.data(), text.size());
    text.resize(bytes < 0 ? 0 : std::size_t(bytes));
    return text;
  }

 private:
  int read_end_ = -1, write_end_ = -1;
};

// A file of so many zeros, or of that content; gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::uintmax_t bytes) {
    const int fd = ::mkstemp(path_.data());
    REQUIRE(fd >= 0);
    ::close(fd);
    std::filesystem::resize_file(path_, bytes);
  }
  explicit TemporaryFile(const std::string& content) : TemporaryFile(std::uintmax_t{0}) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }

  const std::string& path() const { return path_; }
  std::string content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string path_ = std::filesystem::temp_directory_path() / "uvmm-test-XXXXXX";
};

struct Payload {
  explicit Payload(const std::string& name) {
    config.name = name;
    config.kernel = std::string(UVMM_PAYLOADS "/").append(name).append(".elf");
    config.kernel_cache = false;
    config.memory.bytes = 64 << 20;
    config.console = {.kind = ConsoleConfig::Kind::kStreams, .output_fd = console.write_end()};
  }

  Vm create() const {
    auto vm = Vm::create(config);
    if (!vm) FAIL(vm.error().message << "\n" << vm.error().hint);
    return std::move(*vm);
  }

  // Runs it to its end.
  Outcome run() {
    Vm vm = create();
    const Outcome outcome = vm.run();
    output = console.text();
    exits = vm.exits();
    INFO(outcome.detail);
    CHECK_THAT(output, !Catch::Contains("FAIL"));
    return outcome;
  }

  ConsolePipe console;
  Config config;
  std::string output;
  ExitCounts exits;
};

// On the kernel command line, for payload::parameter().
inline std::string parameter(const std::string& name, u64 value) {
  return " " + name + "=" + std::to_string(value);
}

// What this process holds at the moment: descriptors, and bytes of its heap. Not its resident pages, since
// the sanitizers keep freed memory for a while.
struct HostUse {
  std::ptrdiff_t descriptors = 0;
  std::size_t heap_bytes = 0;

  static HostUse now() {
    return {std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}), uvmm::heap_bytes()};
  }
};

// A disk of 32 sectors, each filled with its number.
inline std::string numbered_sectors() {
  std::string content;
  for (char number = 0; number < 32; ++number) content.append(512, number);
  return content;
}

}  // namespace uvmm
