// SPDX-License-Identifier: Apache-2.0
// Says so, then halts for ever: for tests that end the VM from outside.
#include "payload.h"

void payload::run() {
  print("idle\n");
  halt();
}
