// SPDX-License-Identifier: Apache-2.0
// Prints a mebibyte, whether anybody reads or not.
#include "payload.h"

namespace payload {

void run() {
  for (u32 i = 0; i < 16384; ++i) print("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n");
}

}  // namespace payload
