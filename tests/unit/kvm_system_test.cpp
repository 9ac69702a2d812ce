// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/system.h"

#include <catch2/catch.hpp>

namespace uvmm::kvm {

using Catch::Contains;

TEST_CASE("kvm: [case 167] a missing /dev/kvm is refused with what to load") {
  const auto system = System::open("/nonexistent/kvm");
  REQUIRE_FALSE(system);
  CHECK(system.error().kind == ErrorKind::kUnavailable);
  CHECK(system.error().message == "cannot open /nonexistent/kvm: No such file or directory");
  CHECK_THAT(system.error().hint, Contains("kvm_intel or kvm_amd"));
}

TEST_CASE("kvm: [case 167] a device that is not KVM is refused") {
  const auto system = System::open("/dev/null");
  REQUIRE_FALSE(system);
  CHECK(system.error().kind == ErrorKind::kUnavailable);
  CHECK_THAT(system.error().message, Contains("/dev/null is not KVM"));
}

TEST_CASE("kvm: [case 167] a denied /dev/kvm names the group, or the container") {
  const Error denied = explain_open_failure("/dev/kvm", EACCES);
  CHECK(denied.kind == ErrorKind::kPermission);
  CHECK(denied.message == "cannot open /dev/kvm: Permission denied");
  CHECK(denied.hint == "add yourself to group kvm, then log in again");
  CHECK_THAT(explain_open_failure("/dev/kvm", EPERM).hint, Contains("container"));
}

TEST_CASE("kvm: another hypervisor in possession is named") {
  const Error busy = explain_open_failure("/dev/kvm", EBUSY);
  CHECK(busy.kind == ErrorKind::kBusy);
  CHECK_THAT(busy.hint, Contains("another hypervisor"));
}

}  // namespace uvmm::kvm
