// SPDX-License-Identifier: Apache-2.0
// Payload guests (guest-images/payloads) in whole VMs, through the public API only.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "tests/fakes/loop_device.h"
#include "tests/kvm/payload_guest.h"

namespace uvmm {
namespace {

using Catch::Contains;
using namespace std::chrono_literals;

}  // namespace

TEST_CASE("payload: power-off through the sleep control register") {
  CHECK(Payload("poweroff").run().end == End::kPowerOff);
}

TEST_CASE("payload: reboot through the reset register") {
  CHECK(Payload("reset").run().end == End::kReboot);
}

TEST_CASE("payload: [case 159] a triple fault ends the VM") {
  const Outcome outcome = Payload("triple_fault").run();
  CHECK(outcome.end == End::kTripleFault);
  CHECK_THAT(outcome.detail, Contains("triple fault"));
}

TEST_CASE("payload: [case 159] an internal error ends the VM with registers and code") {
  Payload payload("internal_error");
  const Outcome outcome = payload.run();
  CHECK(payload.output == "jumping\n");
  CHECK(outcome.end == End::kInternalError);
  CHECK_THAT(outcome.detail, Contains("rip 00000000c0000000"));
  CHECK_THAT(outcome.detail, Contains("code "));
}

TEST_CASE("payload: text on the console is whole when the VM has ended") {
  Payload payload("hello");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "hello from the guest\n");
}

TEST_CASE("payload: without any device the guest runs and ends") {
  Payload payload("hello");
  payload.config.console = {};
  payload.config.rng = false;
  payload.config.power_button = false;
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output.empty());
}

TEST_CASE("payload: PCI has the host bridge and one function for each device") {
  Payload payload("pci_list");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("00:00.0 "));
  CHECK_THAT(payload.output, Contains("1af4:1043 "));  // console
  CHECK_THAT(payload.output, Contains("1af4:1044 "));  // entropy
  CHECK_THAT(payload.output, Contains("1af4:1045 "));  // balloon
  CHECK_THAT(payload.output, Contains("1af4:1052 "));  // power button
  CHECK(std::ranges::count(payload.output, '\n') == 5);
}

TEST_CASE("payload: [case 158] [case 160] no legacy hardware answers, nor anything outside the windows") {
  Payload payload("legacy_ports");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "ports: ok\nholes: ok\n");
}

TEST_CASE("payload: every vCPU starts with an APIC id of its own") {
  Payload payload("smp");
  payload.config.cpus = GENERATE(1u, 2u, 5u, 64u);
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "smp: ok, " + std::to_string(payload.config.cpus) + " vCPUs\n");
}

TEST_CASE("payload: RAM is where the memory map has it, up to 16 GiB") {
  constexpr std::uint64_t kMiB = 1 << 20;
  Payload payload("ram");
  payload.config.memory.bytes = GENERATE(64 * kMiB, 1024 * kMiB, 3072 * kMiB, 3074 * kMiB, 16384 * kMiB);
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("ram: ok"));
}

TEST_CASE("payload: random bytes come, and come anew") {
  Payload payload("rng");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "rng: ok\n");
}

TEST_CASE("payload: disks keep their order and serials, and what is written is in the file") {
  const TemporaryFile first(1 << 20), second(512), third(4096);
  Payload payload("block");
  payload.config.disks = {{.path = first.path(), .serial = "first"},
                          {.path = second.path(), .serial = "second"},
                          {.path = third.path(), .read_only = true, .serial = "twenty-bytes-exactly"}};
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output ==
        "disk 0: 2048 sectors, serial first\ndisk 0: written and verified\n"
        "disk 1: 1 sectors, serial second\ndisk 1: written and verified\n"
        "disk 2: 8 sectors, serial twenty-bytes-exactly\ndisk 2: read-only\n"
        "block: ok, 3 disks\n");
  // The second 64-bit word of the pattern: its offset times an odd number.
  CHECK(first.content().substr(8, 8) == std::string("\xa8\xe0\x53\xfa\xcb\xcd\xbb\xf1", 8));
  CHECK(third.content() == std::string(4096, '\0'));
}

TEST_CASE(
    "payload: [case 66] a block device that loses its end fails those requests, and the guest goes on") {
  const TemporaryFile file(std::uintmax_t{1} << 20);
  const LoopDevice loop(file.path());
  Payload payload("cut");
  payload.config.disks = {
      {.path = loop.path(), .direct = true}};  // the host's cache has what was read before
  Vm vm = payload.create();
  std::string output;
  std::thread host([&] {
    payload.console.read_until(output, "whole\n");
    std::filesystem::resize_file(file.path(), 4096);
  });
  CHECK(vm.run().end == End::kPowerOff);
  host.join();
  CHECK(output + payload.console.text() == "whole\ncut\n");
}

TEST_CASE("payload: with many requests in flight on several queues each has its own sectors") {
  const TemporaryFile file(1 << 20);
  Payload payload("block_speed");
  payload.config.disks = {{.path = file.path(), .queues = 4}};
  payload.config.default_cmdline = false;
  payload.config.cmdline = "depth=32 queues=4 verify=1 ticks=300000000 bytes=4096 write=1";
  SECTION("from the page cache") {}
  SECTION("direct") {
    payload.config.disks[0].direct = true;
  }
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("block_speed: ok"));

  // What was written says where; the rest gets it for the guest that reads.
  std::string content = file.content();
  std::uint64_t written = 0;
  for (std::uint64_t sector = 0; sector < content.size() / 512; ++sector) {
    std::uint64_t found = 0;
    std::memcpy(&found, &content[sector * 512], sizeof found);
    if (found != 0) CHECK(found == sector);
    written += found != 0;
    std::memcpy(&content[sector * 512], &sector, sizeof sector);
  }
  CHECK(written > 100);
  std::ofstream(file.path(), std::ios::binary) << content;
  payload.config.cmdline = "depth=32 queues=4 verify=1 ticks=300000000 bytes=4096";
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("block_speed: ok"));
}

TEST_CASE("payload: a guest runs in each kind of memory") {
  Payload payload("ram");
  SECTION("shared") {
    payload.config.memory.shared = true;
  }
  SECTION("prefault") {
    payload.config.memory.prefault = true;
  }
  SECTION("mergeable") {
    payload.config.memory.mergeable = true;
  }
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("ram: ok"));
}

TEST_CASE("payload: [case 136] a console that nobody reads stops no guest") {
  CHECK(Payload("flood").run().end == End::kPowerOff);  // 1 MiB into a pipe of 64 KiB
}

TEST_CASE("payload: the console as a file") {
  const TemporaryFile file(0);
  Payload payload("hello");
  payload.config.console = {.kind = ConsoleConfig::Kind::kFile, .path = file.path()};
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(file.content() == "hello from the guest\n");
}

TEST_CASE("payload: [case 160] INIT and SIPI storms, and an APIC over a BAR, end nothing") {
  Payload payload("apic_storm");
  payload.config.cpus = 2;
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "apic: ok\n");
}

TEST_CASE("payload: stop() ends a halted guest within a moment") {
  Payload payload("idle");
  Vm vm = payload.create();
  std::thread stopper([&] {
    std::this_thread::sleep_for(100ms);
    vm.stop();
  });
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = vm.run();
  const auto took = std::chrono::steady_clock::now() - start;
  stopper.join();
  CHECK(outcome.end == End::kStopped);
  CHECK(took < 2s);
  CHECK(payload.console.text() == "idle\n");
}

TEST_CASE("payload: stop() before run() is not lost") {
  Payload payload("idle");
  Vm vm = payload.create();
  vm.stop();
  CHECK(vm.run().end == End::kStopped);
}

TEST_CASE("payload: start() runs a VM on its own thread, wait() gives its outcome") {
  Payload payload("hello");
  Vm vm = payload.create();
  REQUIRE(vm.start());
  CHECK(vm.wait().end == End::kPowerOff);
  CHECK(vm.wait_for(0ms)->end == End::kPowerOff);
  CHECK(payload.console.text() == "hello from the guest\n");
}

TEST_CASE("payload: a VM that was started ends with its object") {
  Payload payload("idle");
  Vm vm = payload.create();
  REQUIRE(vm.start());
  CHECK_FALSE(vm.wait_for(20ms));
  Vm moved = std::move(vm);
  CHECK_FALSE(moved.wait_for(1ms));
}

TEST_CASE("payload: no vCPU runs between pause() and resume()") {
  Payload payload("counting");
  payload.config.cpus = 3;
  Vm vm = payload.create();
  REQUIRE(vm.start());
  std::string output;
  payload.console.read_until(output, "3 vCPUs count\n");
  REQUIRE_THAT(output, Contains("3 vCPUs count"));
  for (int i = 0; i < 20; ++i) {
    vm.pause();
    const ExitCounts before = vm.exits();
    std::this_thread::sleep_for(5ms);
    CHECK(vm.exits().mmio_read == before.mmio_read);
    vm.resume();
    const auto start = std::chrono::steady_clock::now();
    while (vm.exits().mmio_read == before.mmio_read && std::chrono::steady_clock::now() - start < 20s)
      std::this_thread::sleep_for(1ms);
    CHECK(vm.exits().mmio_read != before.mmio_read);
  }
  vm.pause();
  vm.stop();
  CHECK(vm.wait().end == End::kStopped);
}

TEST_CASE("payload: a VM that is paused before it runs begins with the pause") {
  Payload payload("hello");
  Vm vm = payload.create();
  vm.pause();
  REQUIRE(vm.start());
  CHECK_FALSE(vm.wait_for(50ms));
  CHECK(payload.console.text().empty());
  vm.resume();
  CHECK(vm.wait().end == End::kPowerOff);
  vm.pause();  // after its end it is of no consequence
}

TEST_CASE("payload: what happens to a VM is told, and its state is that") {
  Payload payload("hello");
  using Kind = Event::Kind;
  std::vector<Kind> events;  // one call at a time
  Callbacks callbacks;
  callbacks.event = [&](const Event& event) { events.push_back(event.kind); };
  auto created = Vm::create(payload.config, callbacks);
  REQUIRE(created);
  Vm vm = std::move(*created);
  pollfd end{.fd = vm.end_fd(), .events = POLLIN, .revents = 0};
  CHECK(vm.state() == State::kCreated);
  CHECK(::poll(&end, 1, 0) == 0);
  vm.pause();
  CHECK(vm.state() == State::kCreated);
  REQUIRE(vm.start());
  while (vm.state() == State::kCreated) std::this_thread::sleep_for(1ms);
  CHECK(vm.state() == State::kPaused);
  CHECK_FALSE(vm.wait_for(10ms));
  vm.resume();
  vm.resume();
  REQUIRE(::poll(&end, 1, 60'000) == 1);
  const std::optional<Outcome> outcome = vm.wait_for(0ms);
  REQUIRE(outcome);
  CHECK(outcome->end == End::kPowerOff);
  CHECK(vm.state() == State::kEnded);
  vm.pause();
  CHECK(vm.state() == State::kEnded);
  CHECK(events == std::vector<Kind>{Kind::kStarted, Kind::kPaused, Kind::kResumed, Kind::kEnded});
}

TEST_CASE("payload: a shutdown that is asked for is told before the end") {
  Payload payload("idle");
  std::vector<Event::Kind> events;
  Callbacks callbacks;
  callbacks.event = [&](const Event& event) { events.push_back(event.kind); };
  auto vm = Vm::create(payload.config, callbacks);
  REQUIRE(vm);
  vm->shut_down();
  CHECK(vm->run().end == End::kStopped);
  using Kind = Event::Kind;
  CHECK(events == std::vector<Kind>{Kind::kStarted, Kind::kShutdownRequested, Kind::kEnded});
}

TEST_CASE("payload: devices and vCPUs count what they do") {
  Payload payload("hello");
  Vm vm = payload.create();
  const Statistics before = vm.statistics();
  REQUIRE(before.devices.size() == 4);
  CHECK(before.devices[0].name == "console");
  CHECK(before.devices[0].virtio_id == 3);
  CHECK(before.devices[0].queues.at(1).requests == 0);
  CHECK(before.vcpus.at(0).cpu_time == 0ns);

  CHECK(vm.run().end == End::kPowerOff);
  const Statistics after = vm.statistics();
  const QueueStatistics& output = after.devices[0].queues.at(1);
  CHECK(output.requests > 0);
  CHECK(output.bytes_from_guest == std::string("hello from the guest\n").size());
  CHECK(output.bytes_to_guest == 0);
  CHECK(output.notifications > 0);
  CHECK(after.devices[0].errors == 0);
  REQUIRE(after.vcpus.size() == 1);
  CHECK(after.vcpus[0].exits.mmio_write > 0);
  CHECK(after.vcpus[0].cpu_time > 0ns);
}

TEST_CASE("payload: a VM that never runs leaves nothing behind") {
  Payload payload("hello");
  payload.config.cpus = 4;
  const Vm vm = payload.create();
  SUCCEED();
}

TEST_CASE("payload: the console may be resized at any time, before run() and after it") {
  Payload payload("hello");
  Vm vm = payload.create();
  vm.resize_console(100, 30);
  CHECK(vm.run().end == End::kPowerOff);
  vm.resize_console(80, 25);
}

TEST_CASE("payload: several VMs run in one process at the same time") {
  std::array<Payload, 3> payloads{Payload("hello"), Payload("rng"), Payload("smp")};
  payloads[2].config.cpus = 3;
  std::vector<Vm> vms;  // created and destroyed on this thread, each run on another
  for (const Payload& payload : payloads) vms.push_back(payload.create());
  std::vector<std::future<Outcome>> outcomes;
  for (Vm& vm : vms) outcomes.push_back(std::async(std::launch::async, [&vm] { return vm.run(); }));
  for (auto& outcome : outcomes) CHECK(outcome.get().end == End::kPowerOff);
  CHECK(payloads[0].console.text() == "hello from the guest\n");
  CHECK(payloads[1].console.text() == "rng: ok\n");
  CHECK(payloads[2].console.text() == "smp: ok, 3 vCPUs\n");
}

TEST_CASE("payload: configuration is read without exits") {
  Payload payload("pci_list");
  payload.run();
  // The list itself reads each of 32 places in the ECAM; those with a function are memory.
  CHECK(payload.exits.mmio_read < 100);
}

}  // namespace uvmm
