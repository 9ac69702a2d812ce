// SPDX-License-Identifier: Apache-2.0
// Initial file systems: files of the user's into guest memory. Before the guest runs; any one thread.
#pragma once

#include <span>
#include <string>

#include "arch/x86_64/layout.h"
#include "boot/kernel.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"

namespace uvmm {

// Reads the files one after the other, each on a multiple of 4 bytes as cpio archives want, to the highest
// page-aligned place that RAM below the hole and the kernel's initrd_addr_max allow. Returns where; all zero
// for no files.
Result<layout::Range> load_initrds(std::span<const std::string> paths, const GuestMemory& memory,
                                   const LoadedKernel& kernel);

}  // namespace uvmm
