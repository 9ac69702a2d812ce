// SPDX-License-Identifier: Apache-2.0
// Payload guests whose second vCPU is the attacker, or the host at its side: what takes real concurrency.
// With UVMM_TEST_FULL in the environment they last longer, a minute or so each.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

#include "tests/kvm/payload_guest.h"

namespace uvmm {
namespace {

using Catch::Contains;
using namespace std::chrono_literals;

// Runs a payload that waits to be stopped, and compares what it holds in the meantime and then.
void stays_as_it_is(const Payload& payload) {
  Vm vm = payload.create();
  HostUse at_a_fifth, at_the_end;
  std::string output;
  std::thread host([&] {
    payload.console.read_until(output, "a fifth\n");
    at_a_fifth = HostUse::now();
    payload.console.read_until(output, "all\n");
    at_the_end = HostUse::now();
    vm.stop();
  });
  const Outcome outcome = vm.run();
  host.join();
  INFO(outcome.detail);
  CHECK(outcome.end == End::kStopped);
  CHECK_THAT(output, !Contains("FAIL"));
  CHECK(at_the_end.descriptors == at_a_fifth.descriptors);
  CHECK(at_the_end.heap_bytes < at_a_fifth.heap_bytes + 64 * 1024);
}

// How much of the time in which this thread could have run others had its processor, from construction on.
class Contention {
 public:
  double share() const {
    const auto [ran, waited] = now();
    return double(waited - waited_) / double(ran - ran_ + waited - waited_ + 1);
  }

 private:
  static std::pair<std::uint64_t, std::uint64_t> now() {
    std::uint64_t ran = 0, waited = 0;
    std::ifstream("/proc/thread-self/schedstat") >> ran >> waited;
    return {ran, waited};
  }
  std::uint64_t ran_ = now().first, waited_ = now().second;
};

// Runs "latency". A storm that takes the I/O thread's time from a disk shows in every round: hence the one
// that the rest of the machine disturbed least. A thread that storms keep busy waits for a processor like any
// other where there are not enough of them, and then no time tells anything of the device.
void check_latency(Payload& payload) {
  const Contention contention;
  CHECK(payload.run().end == End::kPowerOff);
  struct {
    unsigned long fast = ~0ul, slow = ~0ul;
  } quiet, storm;
  std::istringstream lines(payload.output);
  for (std::string line; std::getline(lines, line);) {
    std::array<unsigned long, 4> ticks{};
    if (std::sscanf(line.c_str(), "quiet %lu %lu storm %lu %lu", &ticks[0], &ticks[1], &ticks[2],
                    &ticks[3]) != 4)
      continue;
    quiet = {std::min(quiet.fast, ticks[0]), std::min(quiet.slow, ticks[1])};
    storm = {std::min(storm.fast, ticks[2]), std::min(storm.slow, ticks[3])};
  }
  REQUIRE(storm.slow != ~0ul);
#ifdef __SANITIZE_THREAD__
  return;  // whose own work is most of these times
#endif
  INFO(payload.output << "share of others: " << contention.share());
  if (contention.share() > 0.05) {
    WARN("no latency was compared: others have " << contention.share() << " of the processor");
    return;
  }
  CHECK(storm.fast < 2 * quiet.fast);
  CHECK(storm.slow < 2 * quiet.slow);
}

}  // namespace

TEST_CASE("attack: [case 18] descriptors that another vCPU changes are what they were when they were read") {
  const TemporaryFile disk(numbered_sectors());
  Payload payload("flips");
  payload.config.cpus = 2;
  payload.config.disks = {{.path = disk.path()}};
  payload.config.cmdline = parameter("requests", sized(2'000, 50'000));
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains(" served, "));
  CHECK(disk.content() == numbered_sectors());
}

TEST_CASE("attack: [case 19] headers that another vCPU changes are what they were when they were read") {
  const TemporaryFile disk(numbered_sectors());
  Payload payload("flips");
  payload.config.cpus = 2;
  payload.config.disks = {{.path = disk.path()}};
  payload.config.cmdline = " header=1" + parameter("requests", sized(2'000, 50'000));
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains(" served, "));
  // Eight sectors at a time are written, from a buffer of 0x77, and nothing else.
  const std::string content = disk.content(), before = numbered_sectors();
  for (const std::size_t start : {0u, 8u * 512}) {
    const std::string run = content.substr(start, 8 * 512);
    CHECK((run == before.substr(start, 8 * 512) || run == std::string(8 * 512, 0x77)));
  }
  CHECK(content.substr(16 * 512) == before.substr(16 * 512));
}

TEST_CASE("attack: [case 30] nothing changes in the guest once a reset under 256 requests has ended") {
  const TemporaryFile disk(std::uintmax_t{16} << 20);
  Payload payload("in_flight");
  payload.config.disks = {{.path = disk.path(), .direct = true}};
  payload.config.cmdline = parameter("rounds", sized(10, 300));
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("requests at"));
  CHECK(disk.content().find('\xbb') == std::string::npos);  // what was in the buffers after the reset
}

TEST_CASE("attack: [case 20] a request that is offered twice while it is in flight costs a reset only") {
  const TemporaryFile disk(std::uintmax_t{16} << 20);
  Payload payload("in_flight");
  payload.config.disks = {{.path = disk.path()}};
  payload.config.cmdline = " twice=1" + parameter("rounds", sized(10, 300));
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("requests at"));
  CHECK(disk.content().find('\xbb') == std::string::npos);
}

TEST_CASE(
    "attack: [case 31] resetting and setting up a device again and again costs no descriptor and no memory") {
  const TemporaryFile disk(numbered_sectors());
  Payload payload("cycles");
  payload.config.disks = {{.path = disk.path()}};
  payload.config.cmdline = parameter("cycles", sized(300, 10'000));
  stays_as_it_is(payload);
}

TEST_CASE("attack: [case 41] a storm of masks, unmasks and routes costs no descriptor and no interrupt") {
  const TemporaryFile disk(numbered_sectors());
  Payload payload("vectors");
  payload.config.cpus = 2;
  payload.config.disks = {{.path = disk.path()}};
  payload.config.cmdline = parameter("writes", sized(3'000, 50'000));
  stays_as_it_is(payload);
}

TEST_CASE("attack: [case 44] a BAR that is moved under doorbells stays where it is, and the disk serves") {
  const TemporaryFile disk(numbered_sectors());
  Payload payload("bar_moves");
  payload.config.cpus = 2;
  payload.config.disks = {{.path = disk.path()}};
  payload.config.cmdline = parameter("moves", sized(1'000, 20'000));
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("moves: "));
}

TEST_CASE("attack: [case 29] doorbells without buffers take no time from another device", "[alone]") {
  const TemporaryFile disk(numbered_sectors()), stormed(numbered_sectors());
  Payload payload("latency");
  payload.config.cpus = 2;
  payload.config.disks = {{.path = disk.path()}, {.path = stormed.path()}};
  payload.config.cmdline = parameter("rounds", sized(10, 30)) + parameter("requests", 100);
  check_latency(payload);
}

TEST_CASE("attack: [case 142] a queue full of requests for entropy takes no time from another device",
          "[alone]") {
  const TemporaryFile disk(numbered_sectors());
  Payload payload("latency");
  payload.config.disks = {{.path = disk.path()}};
  payload.config.cmdline = " rng=1" + parameter("rounds", sized(10, 30)) + parameter("requests", 100);
  check_latency(payload);
}

TEST_CASE("attack: [case 52] a size that is read while it changes is never half of one and half of another") {
  Payload payload("generation");
  payload.config.cmdline = parameter("reads", sized(5'000, 200'000));
  Vm vm = payload.create();
  std::atomic<bool> ended = false;
  std::thread host([&] {
    for (std::uint16_t rows = 1; !ended; rows = std::uint16_t(rows % 1000 + 1)) {
      vm.resize_console(std::uint16_t(rows * 2), rows);
      std::this_thread::sleep_for(200us);
    }
  });
  const Outcome outcome = vm.run();
  ended = true;
  host.join();
  CHECK(outcome.end == End::kPowerOff);
  CHECK(payload.console.text() == "reading\ngeneration: ok\n");
}

}  // namespace uvmm
