// SPDX-License-Identifier: Apache-2.0
#include "boot/initrd.h"

#include <algorithm>
#include <vector>

#include "boot/input_file.h"

namespace uvmm {
namespace {

// Linux, Documentation/driver-api/early-userspace/buffer-format.rst: an archive may follow zero padding, on a
// multiple of 4.
constexpr u64 kArchiveAlignment = 4;

// Free RAM between the kernel and the highest address that it takes an initrd at.
layout::Range free_range(const GuestMemory& memory, const LoadedKernel& kernel) {
  const u64 start = align_up(kernel.range.end(), kPageSize);
  const u64 low_ram_end = memory.prefix(guest(0), layout::kHoleStart).size();
  const u64 end = align_down(std::min(low_ram_end, u64{kernel.header.initrd_addr_max} + 1), kPageSize);
  return {start, end > start ? end - start : 0};
}

Result<void> load_initrd(const std::string& path, const InputFile& file, std::span<u8> target) {
  const int error = read_exactly(file.fd.get(), target, 0);
  if (error == 0) return {};
  return fail(error < 0 ? ErrorKind::kBadData : ErrorKind::kHost, "cannot read initrd {}: {}", path,
              error < 0 ? "it became shorter meanwhile" : error_text(error));
}

}  // namespace

Result<layout::Range> load_initrds(std::span<const std::string> paths, const GuestMemory& memory,
                                   const LoadedKernel& kernel) {
  if (paths.empty()) return layout::Range{};
  const layout::Range available = free_range(memory, kernel);
  std::vector<InputFile> files;
  u64 bytes = 0;
  for (const std::string& path : paths) {
    files.push_back(UVMM_TRY(open_input_file("initrd", path)));
    const u64 start = align_up(bytes, kArchiveAlignment);
    if (start > available.bytes || files.back().bytes() > available.bytes - start)
      return with_hint(
          fail(ErrorKind::kBadData,
               "cannot use initrd {}: it has {} bytes{}, where the guest has {} left beside its kernel", path,
               files.back().bytes(), start > 0 ? fmt::format(" after {} of others", start) : "",
               available.bytes),
          "give the guest more memory");
    bytes = start + files.back().bytes();
  }

  const layout::Range range{align_down(available.end() - bytes, kPageSize), bytes};
  const auto target = memory.slice(guest(range.start), range.bytes);
  if (!target) return fail(ErrorKind::kHost, "cannot place the initrd at {:#x}", range.start);
  u64 offset = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    UVMM_CHECK(load_initrd(paths[i], files[i], target->subspan(offset, files[i].bytes())));
    offset = align_up(offset + files[i].bytes(), kArchiveAlignment);
  }
  return range;
}

}  // namespace uvmm
