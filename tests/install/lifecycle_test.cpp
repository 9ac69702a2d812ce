// SPDX-License-Identifier: Apache-2.0
// VMs that come and go within one process leave nothing behind, and many live there at the same time. Without
// sanitizers, which keep memory for themselves.
#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <uvmm/uvmm.h>

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
    fs::create_directory(share);
    config.shares = {{.path = share, .tag = "share"}};
    config.vsock = {.cid = 3, .path = directory + "/vsock"};
    config.console = {.kind = ConsoleConfig::Kind::kSink, .sink = [](std::string_view) {}};
  }
  ~Everything() {
    for (const int fd : sockets) ::close(fd);
    fs::remove_all(directory);
  }

  // Some that are opened only to be read, or created.
  void add_files() {
    payload.config.initrds = {file.path()};
    payload.config.credentials = {{.id = "a", .path = sector.path()}};
    payload.config.memory.shared = true;
    payload.config.disks.push_back({.path = sector.path(), .read_only = true});
    payload.config.console = {.kind = ConsoleConfig::Kind::kUnix, .path = directory + "/console"};
  }

  const std::string directory = [] {
    std::string name = fs::temp_directory_path() / "uvmm-test-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  const std::string share = directory + "/share";
  const TemporaryFile file{1 << 20}, sector{std::string(512, 'x')};
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

// Such a limit for as long as this lives.
class Limit {
 public:
  Limit(__rlimit_resource resource, rlim_t most) : resource_(resource) {
    ::getrlimit(resource_, &before_);
    rlimit now = before_;
    now.rlim_cur = most;
    ::setrlimit(resource_, &now);
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  ~Limit() { ::setrlimit(resource_, &before_); }

 private:
  const __rlimit_resource resource_;
  rlimit before_{};
};

// Creates a VM with one descriptor at most, with two, and so on until there are enough. `create` says why it
// was refused; and nothing if it was not. Whatever the outcome, what there was is all that there is.
template <typename Create>
void check_limits(const Everything& everything, Create create) {
  REQUIRE(create().empty());
  const Footprint before;
  const std::size_t files = count_entries(everything.directory.c_str());
  std::string refusal = "none";
  rlim_t most = 0;
  while (!refusal.empty()) {
    {
      const Limit limit(RLIMIT_NOFILE, ++most);
      refusal = create();
    }
    INFO("at most " << most << " descriptors: " << refusal);
    const Footprint after;
    CHECK(after.fds == before.fds);
    CHECK(after.threads == before.threads);
    CHECK(after.mappings <= before.mappings + kMostMappings);
    CHECK(count_entries(everything.directory.c_str()) == files);
    if (!refusal.empty()) CHECK_THAT(refusal, Catch::Contains("Too many open files"));
    REQUIRE(most < 1000);
  }
  CHECK(most > before.fds + 10);
}

// Where no stack of a thread can be mapped; what is allocated meanwhile is there beforehand.
template <typename Call>
auto with_no_more_address_space(Call call) {
  ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  std::free(std::malloc(8 << 20));
  std::ifstream memory("/proc/self/statm");
  rlim_t pages = 0;
  memory >> pages;
  const Limit limit(RLIMIT_AS, pages * 4096);
  return call();
}

}  // namespace

TEST_CASE(
    "lifecycle: a VM leaves the process's signals and standard streams as they are, and uses none of them") {
  // Handlers, what is ignored, and what this thread has blocked.
  const auto signals = [] {
    std::ifstream status("/proc/thread-self/status");
    std::string all;
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("SigBlk") || line.starts_with("SigIgn") || line.starts_with("SigCgt"))
        all += line + "\n";
    return all;
  };
  Everything everything;
  everything.payload.config.console = {};
  const ConsolePipe streams;
  std::thread([] {}).join();  // for the first one the C library takes a signal of its own
  std::array<int, 3> saved{};
  for (int i = 0; i < 3; ++i) {
    saved[static_cast<std::size_t>(i)] = ::fcntl(i, F_DUPFD_CLOEXEC, 10);
    ::dup2(streams.write_end(), i);  // whoever reads it fails
  }
  const std::string before = signals();
  Vm vm = everything.payload.create();
  const bool started = vm.start().has_value();
  const std::string during = signals();
  vm.stop();
  const End end = vm.wait().end;
  const std::string after = signals();
  for (int i = 0; i < 3; ++i) {
    ::dup2(saved[static_cast<std::size_t>(i)], i);
    ::close(saved[static_cast<std::size_t>(i)]);
  }
  CHECK(started);
  CHECK(end == End::kStopped);
  CHECK(during == before);
  CHECK(after == before);
  CHECK(streams.text().empty());
}

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

// With so few descriptors at hand that some call on the way finds none left, whichever it is.
TEST_CASE("lifecycle: a VM that finds no descriptor left says so and leaves nothing behind") {
  Everything everything;
  everything.add_files();
  check_limits(everything, [&] {
    const auto vm = Vm::create(everything.payload.config);
    return vm ? std::string() : vm.error().message;
  });
}

TEST_CASE("lifecycle: nor does one of a C caller") {
  Everything everything;
  const Config& like = everything.payload.config;
  const uvmm_disk_config disk = {
      .size = sizeof disk, .path = everything.file.path().c_str(), .read_only = -1};
  const uvmm_net_config net = {
      .size = sizeof net, .kind = UVMM_NET_SOCKET, .fds = everything.sockets.data(), .fd_count = 1};
  const uvmm_share_config share = {
      .size = sizeof share, .path = everything.share.c_str(), .tag = "share", .uid = -1, .gid = -1};
  uvmm_config config;
  uvmm_config_init(&config, sizeof config);
  config.kernel = like.kernel.c_str();
  config.kernel_cache = 0;
  config.memory_bytes = like.memory.bytes;
  config.disks = &disk;
  config.nets = &net;
  config.shares = &share;
  config.disk_count = config.net_count = config.share_count = 1;
  config.console = UVMM_CONSOLE_SINK;
  config.console_output = [](void*, const void*, size_t) {};
  config.vsock_cid = 3;
  config.vsock_path = like.vsock->path.c_str();
  check_limits(everything, [&] {
    uvmm_error* error = nullptr;
    uvmm_vm* const vm = uvmm_vm_create(&config, &error);
    const std::string refusal = vm ? "" : uvmm_error_message(error);
    uvmm_error_free(error);
    uvmm_vm_destroy(vm);
    return refusal;
  });
}

// These two each in a process of its own, since a thread that has ended leaves its stack to the next.
TEST_CASE("lifecycle: a VM whose thread cannot be started says so, and can be started another time") {
  Payload payload("idle");
  Vm vm = payload.create();
  const Result<void> started = with_no_more_address_space([&] { return vm.start(); });
  REQUIRE_FALSE(started);
  CHECK_THAT(started.error().message, Catch::StartsWith("cannot start the VM's thread: "));
  CHECK(vm.state() == State::kCreated);
  REQUIRE(vm.start());
  vm.stop();
  CHECK(vm.wait().end == End::kStopped);
}

TEST_CASE("lifecycle: a VM of which a vCPU's thread cannot be started says so and ends") {
  Payload payload("idle");
  payload.config.cpus = 2;
  Vm vm = payload.create();
  std::thread late([&] {
    for (int i = 0; i < 1000 && vm.state() != State::kEnded; ++i) std::this_thread::sleep_for(10ms);
    vm.stop();
  });
  const Outcome outcome = with_no_more_address_space([&] { return vm.run(); });
  late.join();
  CHECK(outcome.end == End::kInternalError);
  CHECK_THAT(outcome.detail, Catch::StartsWith("cannot start the thread of vCPU 1: "));
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
