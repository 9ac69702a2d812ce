// SPDX-License-Identifier: Apache-2.0
// skip(): ends a test that this machine cannot run, and says why. Catch2 v2 has no such thing; ctest runs
// each test case as a process of its own and knows the status (SKIP_RETURN_CODE in tests/CMakeLists.txt).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace uvmm {

[[noreturn]] inline void skip(const std::string& reason) {
  std::fprintf(stderr, "skipped: %s\n", reason.c_str());
  std::_Exit(77);
}

}  // namespace uvmm
