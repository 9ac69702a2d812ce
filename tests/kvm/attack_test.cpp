// SPDX-License-Identifier: Apache-2.0
// Payload guests whose second vCPU is the attacker, or the host at its side: what takes real concurrency.
// With UVMM_TEST_FULL in the environment they last as long as the cases say.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/kvm/payload_guest.h"

namespace uvmm {
namespace {

using Catch::Contains;
using namespace std::chrono_literals;

unsigned by_effort(unsigned brief, unsigned full) {
  return std::getenv("UVMM_TEST_FULL") ? full : brief;
}

std::string parameter(const std::string& name, unsigned value) {
  return " " + name + "=" + std::to_string(value);
}

}  // namespace

TEST_CASE("attack: [case 52] a size that is read while it changes is never half of one and half of another") {
  Payload payload("generation");
  payload.config.cmdline = parameter("reads", by_effort(10'000, 1'000'000));
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
