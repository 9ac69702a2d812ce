// SPDX-License-Identifier: Apache-2.0
// Every test here needs /dev/kvm, and is skipped where there is none.
#include <unistd.h>

#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>

#include "tests/fakes/skip.h"

namespace {

struct NeedsKvm : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testCaseStarting(const Catch::TestCaseInfo&) override {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) uvmm::skip("no access to /dev/kvm");
  }
};
CATCH_REGISTER_LISTENER(NeedsKvm)

}  // namespace
