// SPDX-License-Identifier: Apache-2.0
// The other vCPUs.
#pragma once

#include "payload.h"

namespace payload {

// Starts the vCPU with APIC id `id`, once each. `function` runs there at CPL 3, on a stack of its own, and
// need not return. To be called at CPL 0.
void start_cpu(u32 id, void (*function)());

}  // namespace payload
