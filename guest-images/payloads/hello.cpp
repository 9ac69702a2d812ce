// SPDX-License-Identifier: Apache-2.0
// Greets on the console and powers off.
#include "payload.h"

void payload::run() {
  print("hello from the guest\n");
}
