// SPDX-License-Identifier: Apache-2.0
// The kernel: from the file that the user names to code in guest memory. Before the guest runs; any one
// thread.
//
// The kernel is entered at startup_64 of the uncompressed vmlinux, in long mode, with boot_params
// (boot_params.h) at the address in RSI. Its own decompressor never runs, and so its base is not randomised.
#pragma once

#include <asm/bootparam.h>

#include <string>

#include "arch/x86_64/layout.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/log.h"
#include "vmm/base/result.h"

namespace uvmm {

struct KernelSource {
  std::string path;  // bzImage or vmlinux ELF, x86-64
  std::string
      cache_directory;  // where unpacked kernels are kept (default_kernel_cache_directory()); empty: nowhere
  // The guest's RAM is private memory of this process, so that pages of an unpacked kernel may be mapped over
  // it rather than copied to it. Not when RAM is a memfd or on reserved huge pages.
  bool may_map = false;
};

struct LoadedKernel {
  GuestAddress entry{};
  layout::Range range;    // what the kernel takes up before it manages memory itself; free RAM is above
  setup_header header{};  // for boot_params
};

// `memory` is new: all zeroes.
Result<LoadedKernel> load_kernel(const KernelSource& source, const GuestMemory& memory, Log& log);

}  // namespace uvmm
