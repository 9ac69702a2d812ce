// SPDX-License-Identifier: Apache-2.0
// heap_bytes(): what this process has allocated and not given back, as a sanitizer or the C library knows it.
#pragma once

#include <malloc.h>

#include "vmm/base/types.h"

extern "C" std::size_t __sanitizer_get_current_allocated_bytes() __attribute__((weak));

namespace uvmm {

inline u64 heap_bytes() {
  if (__sanitizer_get_current_allocated_bytes) return __sanitizer_get_current_allocated_bytes();
  return ::mallinfo2().uordblks;
}

}  // namespace uvmm
