// SPDX-License-Identifier: Apache-2.0
// Does what no KVM can: executes instructions from where there is no memory.
#include "payload.h"

void payload::run() {
  print("jumping\n");
  reinterpret_cast<void (*)()>(layout::kHoleStart)();
}
