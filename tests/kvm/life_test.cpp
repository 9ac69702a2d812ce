// SPDX-License-Identifier: Apache-2.0
// The life of a VM from its start to its end, and what is told of it meanwhile, with payload guests.
#include <poll.h>

#include <array>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "tests/kvm/payload_guest.h"

namespace uvmm {
namespace {

using Catch::Contains;
using namespace std::chrono_literals;

}  // namespace

TEST_CASE("payload: stop() ends a halted guest within a moment", "[alone]") {
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

}  // namespace uvmm
