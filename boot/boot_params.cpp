// SPDX-License-Identifier: Apache-2.0
#include "boot/boot_params.h"

#include <algorithm>

namespace uvmm {
namespace {

static_assert(sizeof(boot_params) == kPageSize);

// ACPI 6.5, table 15.10: address range types.
constexpr u32 kUsable = 1;
constexpr u32 kReserved = 2;

constexpr u8 kLoaderWithoutId = 0xff;

void add_e820(boot_params& params, layout::Range range, u32 type) {
  params.e820_table[params.e820_entries++] = {range.start, range.bytes, type};
}

constexpr layout::Range between(u64 start, u64 end) {
  return {start, end - start};
}

// RAM as the regions have it, less what lies below 1 MiB and is not to be used.
void fill_e820(boot_params& params, const GuestMemory& memory) {
  add_e820(params, between(0, layout::kLowMemoryEnd), kUsable);
  add_e820(params, between(layout::kLowMemoryEnd, layout::kHighMemory), kReserved);
  for (const GuestMemory::Region& region : memory.regions()) {
    const u64 start = std::max(address(region.start), layout::kHighMemory);
    const u64 end = address(region.start) + region.bytes.size();
    if (address(region.start) >= layout::kHoleEnd) continue;
    if (end > start) add_e820(params, between(start, end), kUsable);
  }
  add_e820(params, layout::kEcam, kReserved);
  for (const GuestMemory::Region& region : memory.regions())
    if (address(region.start) >= layout::kHoleEnd)
      add_e820(params, {address(region.start), region.bytes.size()}, kUsable);
}

}  // namespace

Result<void> write_boot_params(const BootSource& source, const GuestMemory& memory) {
  boot_params params{};
  params.hdr = source.header;
  params.hdr.type_of_loader = kLoaderWithoutId;
  params.hdr.loadflags |= LOADED_HIGH;
  params.hdr.loadflags &= static_cast<u8>(~(CAN_USE_HEAP | KASLR_FLAG));
  params.hdr.cmd_line_ptr = layout::kCmdline;
  params.hdr.ramdisk_image = static_cast<u32>(source.initrd.start);
  params.hdr.ramdisk_size = static_cast<u32>(source.initrd.bytes);
  params.ext_ramdisk_image = static_cast<u32>(source.initrd.start >> 32);
  params.ext_ramdisk_size = static_cast<u32>(source.initrd.bytes >> 32);
  params.acpi_rsdp_addr = layout::kAcpiTables.start;
  fill_e820(params, memory);

  const auto cmdline = memory.slice(guest(layout::kCmdline), source.cmdline.size() + 1);
  if (source.cmdline.size() >= layout::kCmdlineBytes || !cmdline)
    return fail(ErrorKind::kBadData, "cannot use the kernel command line: it has {} bytes",
                source.cmdline.size());
  std::ranges::copy(source.cmdline, cmdline->begin());
  cmdline->back() = 0;
  if (!memory.write(guest(layout::kBootParams), params))
    return fail(ErrorKind::kBadData, "the guest's memory is too small");
  return {};
}

}  // namespace uvmm
