// SPDX-License-Identifier: Apache-2.0
// Loading a vmlinux: an ELF64 executable for x86-64 whose segments go to their physical addresses. Before the
// guest runs, so any one thread.
#pragma once

#include <string>

#include "arch/x86_64/layout.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

struct ElfFile {
  int fd = -1;
  u64 bytes = 0;
  // Map whole pages of the file over the guest's RAM, privately, where its offsets allow, instead of reading
  // them: the file never changes, and RAM is private memory of this process.
  bool may_map = false;
};

struct LoadedElf {
  GuestAddress entry{};
  layout::Range range;  // from the first segment to the end of the last
};

// Refuses before it touches the memory unless all segments lie in RAM at or above 1 MiB, apart from each
// other, and the entry point in one of them. RAM is expected to be zero, as it is when it is new: what a
// segment leaves uninitialised is not written.
Result<LoadedElf> load_elf(const ElfFile& file, const GuestMemory& memory);

}  // namespace uvmm
