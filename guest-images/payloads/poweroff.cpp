// SPDX-License-Identifier: Apache-2.0
// Powers off through the ACPI sleep control register, and does nothing else.
#include "payload.h"

void payload::run() {
  power_off();
}
