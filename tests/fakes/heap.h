// SPDX-License-Identifier: Apache-2.0
// heap_bytes(): what this process has allocated and not given back, as a sanitizer or the C library knows it.
// sized(): how much of something a test does by itself, and with UVMM_TEST_FULL.
#pragma once

#include <malloc.h>

#include <cstdlib>

#include "vmm/base/types.h"

extern "C" std::size_t __sanitizer_get_current_allocated_bytes() __attribute__((weak));

namespace uvmm {

inline u64 heap_bytes() {
  if (__sanitizer_get_current_allocated_bytes) return __sanitizer_get_current_allocated_bytes();
  const struct mallinfo2 heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

inline u64 sized(u64 usual, u64 full) {
  return std::getenv("UVMM_TEST_FULL") ? full : usual;
}

}  // namespace uvmm
