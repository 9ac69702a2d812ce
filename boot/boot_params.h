// SPDX-License-Identifier: Apache-2.0
// boot_params, the "zero page": all that a 64-bit kernel learns from its loader (Linux,
// Documentation/arch/x86/boot.rst). Before the guest runs; any one thread.
#pragma once

#include <asm/bootparam.h>

#include <string_view>

#include "arch/x86_64/layout.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"

namespace uvmm {

struct BootSource {
  setup_header header{};     // LoadedKernel's
  std::string_view cmdline;  // as build_cmdline checked it
  layout::Range initrd;      // empty: none
};

// Writes boot_params to layout::kBootParams and the command line to layout::kCmdline.
Result<void> write_boot_params(const BootSource& source, const GuestMemory& memory);

}  // namespace uvmm
