// SPDX-License-Identifier: Apache-2.0
// Payload guests that speak FUSE to a share as no driver would. What is in the share and around it must be
// the same then. With UVMM_TEST_FULL in the environment they last longer.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "devices/fuse/owners.h"
#include "tests/kvm/payload_guest.h"

namespace uvmm {
namespace {

using Catch::Contains;

// A directory to share, in one that has more; gone at the end of the test.
class Surroundings {
 public:
  Surroundings() {
    REQUIRE(::mkdtemp(top_.data()) != nullptr);
    std::filesystem::create_directories(share() + "/directory");
    std::filesystem::create_directories(top_ + "/outside");
    put("share/file", "content");
    put("share/directory/inner", "inner");
    put("outside/file", "nobody's business");
    std::filesystem::create_symlink("/etc/passwd", share() + "/link");
    REQUIRE(::symlink(std::string(4095, 't').c_str(), (share() + "/long").c_str()) == 0);
    REQUIRE(::mkfifo((share() + "/fifo").c_str(), 0666) == 0);
    make_socket();
  }
  Surroundings(const Surroundings&) = delete;
  Surroundings& operator=(const Surroundings&) = delete;
  ~Surroundings() { std::filesystem::remove_all(top_); }

  std::string share() const { return top_ + "/share"; }
  void put(const std::string& name, std::string_view content) const {
    std::ofstream(top_ + "/" + name, std::ios::binary) << content;
  }

  // A line for each file: its kind, mode, owner, links and a hash of its content.
  std::string listing() const {
    std::vector<std::string> lines;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top_)) {
      struct stat status{};
      REQUIRE(::lstat(entry.path().c_str(), &status) == 0);
      std::string line = entry.path().string() + ' ' + std::to_string(status.st_mode) + ' ' +
                         std::to_string(status.st_uid) + ':' + std::to_string(status.st_gid) + ' ' +
                         std::to_string(status.st_nlink) + ' ';
      std::string content;
      if (entry.is_symlink()) content = std::filesystem::read_symlink(entry.path());
      if (S_ISREG(status.st_mode)) {
        std::ifstream file(entry.path(), std::ios::binary);
        content.assign(std::istreambuf_iterator<char>(file), {});
      }
      lines.push_back(line + std::to_string(std::hash<std::string>{}(content)));
    }
    std::ranges::sort(lines);
    std::string all;
    for (const std::string& line : lines) all += line + '\n';
    return all;
  }

 private:
  void make_socket() const {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    (share() + "/socket").copy(address.sun_path, sizeof address.sun_path - 1);
    const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    REQUIRE(bound);
  }

  std::string top_ = std::filesystem::temp_directory_path() / "uvmm-test-XXXXXX";
};

// As many descriptors as most systems give a process, while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t most) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = most;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

// Runs a payload that is at rest twice, and compares what this process holds and what is on the host.
void leaves_no_trace(const Payload& payload, const Surroundings& host) {
  const std::string before = host.listing();
  Vm vm = payload.create();
  std::array<HostUse, 2> at_rest;
  std::atomic<bool> ended = false;
  std::string output;
  std::thread observer([&] {
    for (std::size_t i = 0; i < at_rest.size(); ++i) {
      std::string more;
      while (!more.ends_with("at rest\n") && !ended) payload.console.read_until(more, "at rest\n");
      at_rest[i] = HostUse::now();
      host.put("share/counted-" + std::to_string(i + 1), "");
      output += more;
    }
  });
  const Outcome outcome = vm.run();
  ended = true;
  observer.join();
  output += payload.console.text();
  for (const char* counted : {"/counted-1", "/counted-2"}) std::filesystem::remove(host.share() + counted);
  INFO(output << outcome.detail);
  CHECK(outcome.end == End::kPowerOff);
  CHECK_THAT(output, Contains(": ok\n"));
  CHECK_THAT(output, !Contains("FAIL"));
  CHECK(at_rest[1].descriptors == at_rest[0].descriptors);
  CHECK(at_rest[1].heap_bytes < at_rest[0].heap_bytes + 64 * 1024);
  CHECK(host.listing() == before);
}

}  // namespace

TEST_CASE(
    "share attack: [cases 84-93, 97-102, 104, 107-109, 111-118] requests that no driver sends end as they "
    "must, and others are served") {
  const DescriptorLimit limit(1024);
  const TemporaryFile disk(numbered_sectors());
  const Surroundings host;
  for (const bool ids_pass : {false, true}) {
    if (ids_pass && !fuse::Owners::may_pass_through()) continue;
    Payload payload("fuse_attack");
    payload.config.disks = {{.path = disk.path(), .read_only = true}};
    payload.config.shares = {{.path = host.share()},
                             {.path = host.share(), .tag = "fixed", .read_only = true}};
    if (!ids_pass) payload.config.shares[0].uid = 0;
    payload.config.cmdline = parameter("rounds", sized(1, 20)) + (ids_pass ? " passes=1" : "");
    leaves_no_trace(payload, host);
  }
}

TEST_CASE(
    "share attack: [cases 88, 103, 110 and 120] whoever takes all that there is, or forgets what he never "
    "knew, harms himself only") {
  const DescriptorLimit limit(1024);
  const TemporaryFile disk(numbered_sectors());
  const Surroundings host;
  Payload payload("fuse_storm");
  payload.config.disks = {{.path = disk.path(), .read_only = true}};
  payload.config.shares = {{.path = host.share()}};
  payload.config.cmdline = parameter("rounds", sized(1, 10)) + parameter("storm", sized(300, 300'000));
  leaves_no_trace(payload, host);
}

TEST_CASE(
    "share attack: [case 19] requests whose headers another vCPU changes are what they were when read") {
  const DescriptorLimit limit(1024);
  const Surroundings host;
  const std::string before = host.listing();
  Payload payload("fuse_flips");
  payload.config.cpus = 2;
  payload.config.shares = {{.path = host.share()}};
  payload.config.cmdline = parameter("requests", sized(1'000, 200'000));
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains(" served, "));
  CHECK(host.listing() == before);
}

TEST_CASE("share attack: a tree of a million files is walked with few descriptors") {
  const DescriptorLimit limit(1024);
  const int directories = sized(3, 1000), each = sized(100, 1000);
  const Surroundings host;
  std::filesystem::remove_all(host.share());
  for (int i = 0; i < directories; ++i) {
    const std::string directory = host.share() + "/d" + std::to_string(i);
    std::filesystem::create_directories(directory);
    for (int j = 0; j < each; ++j) {
      const std::string path = directory + "/f" + std::to_string(j);
      const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      REQUIRE(::write(fd, "content", 7) == 7);
      ::close(fd);
    }
  }
  Payload payload("fuse_walk");
  payload.config.memory.bytes = std::uint64_t{1} << 30;  // a guest that knows a million files
  payload.config.shares = {{.path = host.share()}};
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("walk: " + std::to_string(directories * each) + " files in " +
                                      std::to_string(directories + 1) + " directories"));
}

}  // namespace uvmm
