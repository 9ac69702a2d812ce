// SPDX-License-Identifier: Apache-2.0
// The loop over the seeds, and how one of them is told when it fails, by whatever means.
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "tests/simulation/simulation.h"

namespace uvmm {
namespace {

const char* running_name = "";
u64 running_seed = 0;

void tell_seed() {
  std::fprintf(stderr, "simulation of %s: UVMM_SEED=%llu\n", running_name,
               static_cast<unsigned long long>(running_seed));
}

void run_seed(u64 seed, FakeRam& ram, const std::function<void(u64, FakeRam&)>& simulate) {
  running_seed = seed;
  INFO("UVMM_SEED=" << seed);  // Catch2 shows it after a failed assertion, too
  try {
    simulate(seed, ram);
  } catch (const std::exception& error) {
    FAIL(error.what());
  }
}

}  // namespace

void require(bool condition, std::source_location where) {
  if (condition) return;
  throw std::runtime_error(std::string(where.file_name()) + ":" + std::to_string(where.line()));
}

void run_one(Simulation& simulation) {
  try {
    simulation.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    tell_seed();
    throw;
  }
}

void simulate_seeds(const char* name, u64 seeds,
                    const std::function<void(u64 seed, FakeRam& ram)>& simulate) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_set_death_callback(tell_seed);
#endif
  running_name = name;
  FakeRam ram;
  if (const char* const one = std::getenv("UVMM_SEED")) return run_seed(std::stoull(one), ram, simulate);
  if (std::getenv("UVMM_TEST_FULL")) seeds *= 5;
  for (u64 seed = 1; seed <= seeds; ++seed) run_seed(seed, ram, simulate);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_set_death_callback(nullptr);
#endif
}

}  // namespace uvmm
