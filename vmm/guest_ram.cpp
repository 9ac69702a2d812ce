// SPDX-License-Identifier: Apache-2.0
#include "vmm/guest_ram.h"

#include <sys/mman.h>

#include <algorithm>

#include "arch/x86_64/layout.h"
#include "vmm/base/fd.h"

namespace uvmm {
namespace {

constexpr u64 kHugePageSize = 2_MiB;

std::unexpected<Error> mapping_failure(const MemoryConfig& config, int error) {
  auto failure =
      fail(ErrorKind::kHost, "cannot get {} MiB of guest memory: {}", config.bytes >> 20, error_text(error));
  if (!config.hugepages) return failure;
  return with_hint(std::move(failure), fmt::format("reserve huge pages: sysctl vm.nr_hugepages={}",
                                                   align_up(config.bytes, kHugePageSize) / kHugePageSize));
}

// Address space that starts on a huge page, so that the whole of RAM can be made of them.
u8* reserve(u64 bytes) {
  void* const start =
      ::mmap(nullptr, bytes + kHugePageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  u8* const first = static_cast<u8*>(start);
  u8* const aligned = reinterpret_cast<u8*>(align_up(reinterpret_cast<u64>(first), kHugePageSize));
  if (aligned != first) ::munmap(first, static_cast<u64>(aligned - first));
  const u64 tail = kHugePageSize - static_cast<u64>(aligned - first);
  if (tail > 0) ::munmap(aligned + bytes, tail);
  return aligned;
}

}  // namespace

Result<GuestRam> GuestRam::create(const MemoryConfig& config) {
  const u64 bytes =
      config.hugepages ? align_up(config.bytes, kHugePageSize) : align_up(config.bytes, kPageSize);

  Fd file;
  int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
  if (config.shared) {
    file = Fd(::memfd_create("guest-ram", MFD_CLOEXEC | (config.hugepages ? MFD_HUGETLB : 0u)));
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0)
      return mapping_failure(config, errno);
    flags = MAP_FIXED | MAP_SHARED;
  } else if (config.hugepages) {
    flags |= MAP_HUGETLB;
  }
  // Reserved huge pages are to be had now or never; anything else is taken when it is touched.
  if (!config.hugepages) flags |= MAP_NORESERVE;

  u8* const start = reserve(bytes);
  if (!start) return mapping_failure(config, errno);
  GuestRam ram({start, bytes}, !config.shared && !config.hugepages);
  if (::mmap(start, bytes, PROT_READ | PROT_WRITE, flags, file.get(), 0) == MAP_FAILED)
    return mapping_failure(config, errno);

  // Advice: a kernel without the feature says no, and the guest runs all the same.
  ::madvise(start, bytes, MADV_DONTDUMP);
  ::madvise(start, bytes, MADV_DONTFORK);
  if (!config.hugepages) {
    // Of the first 2 MiB little but tables is ever used: to clear all of them would delay the start for
    // nothing.
    const u64 low = std::min(bytes, kHugePageSize);
    ::madvise(start, low, MADV_NOHUGEPAGE);
    ::madvise(start + low, bytes - low, MADV_HUGEPAGE);
  }
  if (config.mergeable) ::madvise(start, bytes, MADV_MERGEABLE);
  if (config.prefault && ::madvise(start, bytes, MADV_POPULATE_WRITE) != 0)
    return mapping_failure(config, errno);
  return ram;
}

GuestRam::~GuestRam() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

GuestMemory GuestRam::memory() const {
  std::vector<GuestMemory::Region> regions;
  u64 offset = 0;
  for (const layout::Range& range : layout::ram_ranges(bytes_.size())) {
    regions.push_back({guest(range.start), bytes_.subspan(offset, range.bytes)});
    offset += range.bytes;
  }
  return GuestMemory(std::move(regions));
}

}  // namespace uvmm
