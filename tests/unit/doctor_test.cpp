// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "vmm/command/doctor.h"

using namespace uvmm::command;

TEST_CASE("doctor: a missing thing that is required decides, others do not") {
  std::vector<Finding> findings = {
      {.verdict = Finding::Verdict::kOk, .subject = "a", .text = "fine", .required = true},
      {.verdict = Finding::Verdict::kMissing, .subject = "b", .text = "absent", .hint = "get b"},
  };
  CHECK(exit_status(findings) == 0);
  CHECK(report(findings) ==
        "ok       a: fine\nmissing  b: absent\n           hint: get b\nA VM can run here.\n");
  findings[1].required = true;
  CHECK(exit_status(findings) == 69);
}
