// SPDX-License-Identifier: Apache-2.0
// Ends in a triple fault, as a kernel that crashes before it can handle exceptions.
#include "payload.h"

void payload::run() {
  triple_fault();
}
