// SPDX-License-Identifier: Apache-2.0
// Reboots through the ACPI reset register.
#include "payload.h"

void payload::run() {
  reset();
}
