// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdio>
#include <cstdlib>
#include <source_location>

#include "tests/fakes/fake_driver.h"

namespace uvmm {

inline void require(bool condition, std::source_location where = std::source_location::current()) {
  if (condition) return;
  std::fprintf(stderr, "%s:%u: not as required\n", where.file_name(), where.line());
  std::abort();
}

// A World is a device with a driver and a host, made from (input, ram). The input is a program for it: each
// step() takes some of it, and after the last comes finish().
template <typename World>
void run_program(const u8* data, std::size_t size) {
  static FakeRam ram;
  ram.recycle();
  FuzzedDataProvider input(data, size);
  World world(input, ram);
  while (input.remaining_bytes() > 0) world.step();
  world.finish();
}

}  // namespace uvmm
