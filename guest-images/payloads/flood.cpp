// SPDX-License-Identifier: Apache-2.0
// Prints mebibytes=N, whether anybody reads or not.
#include "payload.h"

namespace payload {

void run() {
  const u64 lines = parameter("mebibytes", 1) * 16384;
  leave_kernel_mode();
  for (u64 i = 0; i < lines; ++i) print("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n");
}

}  // namespace payload
