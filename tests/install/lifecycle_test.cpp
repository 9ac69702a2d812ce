// SPDX-License-Identifier: Apache-2.0
// VMs that come and go within one process leave nothing behind, and many live there at the same time. Without
// sanitizers, which keep memory for themselves.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <uvmm/disk.hpp>

#include "tests/kvm/payload_guest.h"

namespace uvmm {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int kFew = 20;
constexpr int kMany = 1000;
constexpr int kWarmUp = 5;  // rounds in which pools and caches may grow
// What the allocator may keep more than before, however many rounds there are.
constexpr std::size_t kMostMappings = 8;
constexpr std::size_t kMostPages = 512;

int rounds() {
  return std::getenv("UVMM_TEST_FULL") ? kMany : kFew;
}

std::size_t count_entries(const char* directory) {
  const fs::directory_iterator all(directory);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// What a process takes up, as the kernel counts it.
struct Footprint {
  std::size_t fds = count_entries("/proc/self/fd");
  std::size_t threads = count_entries("/proc/self/task");
  std::size_t mappings = 0;
  std::size_t pages = 0;  // resident

  Footprint() {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) ++mappings;
    std::ifstream memory("/proc/self/statm");
    std::size_t all = 0;
    memory >> all >> pages;
  }
};

struct SomeDisk final : Disk {
  std::uint64_t bytes() const override { return 1 << 20; }
  void submit(DiskRequest& request) override { request.complete(); }
};

// A VM with a device of each kind that needs nothing but this process, and what these need.
struct Everything {
  Everything() {
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) == 0);
    Config& config = payload.config;
    config.cpus = 2;
    config.disks = {{.path = file.path()}, {.path = "memory", .disk = &disk}};
    config.nets = {{.kind = NetConfig::Kind::kSocket, .fds = {sockets[0]}}};
    config.shares = {{.path = directory, .tag = "share"}};
    config.vsock = {.cid = 3, .path = directory + "/vsock"};
    config.console = {.kind = ConsoleConfig::Kind::kSink, .sink = [](std::string_view) {}};
  }
  ~Everything() {
    for (const int fd : sockets) ::close(fd);
    fs::remove_all(directory);
  }

  const std::string directory = [] {
    std::string name = fs::temp_directory_path() / "uvmm-test-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  const TemporaryFile file{1 << 20};
  SomeDisk disk;
  std::array<int, 2> sockets{};
  Payload payload{"idle"};
};

// Does `round` again and again; afterwards the process is as it was.
template <typename Round>
void check_rounds(Round round) {
  for (int i = 0; i < kWarmUp; ++i) round();
  const Footprint before;
  for (int i = 0; i < rounds(); ++i) round();
  const Footprint after;
  CHECK(after.fds == before.fds);
  CHECK(after.threads == before.threads);
  CHECK(after.mappings <= before.mappings + kMostMappings);
  CHECK(after.pages <= before.pages + kMostPages);
}

}  // namespace

TEST_CASE("lifecycle: a VM that was created and not run leaves nothing behind") {
  Everything everything;
  check_rounds([&] { everything.payload.create(); });
}

TEST_CASE("lifecycle: a VM that was started, and ends with its object, leaves nothing behind") {
  Everything everything;
  check_rounds([&] {
    Vm vm = everything.payload.create();
    REQUIRE(vm.start());
  });
}

TEST_CASE("lifecycle: a VM that ran to its end on the caller's thread leaves nothing behind") {
  Payload payload("poweroff");
  check_rounds([&] { CHECK(payload.create().run().end == End::kPowerOff); });
}

TEST_CASE("lifecycle: a VM that is refused leaves nothing behind") {
  Everything everything;
  everything.payload.config.vsock->path = "/nonexistent/vsock";  // among the last that are opened
  check_rounds([&] { CHECK_FALSE(Vm::create(everything.payload.config)); });
}

TEST_CASE("lifecycle: a hundred VMs live in one process, and end in any order") {
  Payload payload("idle");
  payload.config.console = {};
  std::vector<Vm> vms;
  for (int i = 0; i < 100; ++i) {
    vms.push_back(payload.create());
    REQUIRE(vms.back().start());
  }
  for (Vm& vm : vms) CHECK_FALSE(vm.wait_for(0ms));
  for (std::size_t i = 0; i < vms.size(); i += 2) vms[i].stop();
  for (std::size_t i = 0; i < vms.size(); i += 2) CHECK(vms[i].wait().end == End::kStopped);
  for (std::size_t i = 1; i < vms.size(); i += 2) CHECK(vms[i].state() == State::kRunning);
  while (!vms.empty()) vms.pop_back();
}

}  // namespace uvmm
