// SPDX-License-Identifier: Apache-2.0
// `uvmm doctor`: what of the things that VMs need or like works on this machine.
#pragma once

#include <string>
#include <vector>

namespace uvmm::command {

struct Finding {
  enum class Verdict { kOk, kWarning, kMissing };
  Verdict verdict = Verdict::kOk;
  std::string subject;    // "/dev/kvm"
  std::string text;       // what was found
  std::string hint;       // what to do about it; may be empty
  bool required = false;  // no VM runs without it
};

std::vector<Finding> examine_machine();

// The findings as a table for a person.
std::string report(const std::vector<Finding>& findings);

// 0 if a VM can run, else the status for a missing kernel feature.
int exit_status(const std::vector<Finding>& findings);

}  // namespace uvmm::command
