// SPDX-License-Identifier: Apache-2.0
// Writes and reads the first and the last bytes of every range of RAM in the memory map, and looks for
// all-ones where the map has nothing: behind the first range that ends at or above 1 MiB, in the hole below
// 4 GiB, and behind the last byte of RAM.
#include "payload.h"

namespace payload {
namespace {

void try_byte(u64 gpa) {
  map(gpa);
  const u8 before = mmio_read<u8>(gpa);
  for (const u8 value : {u8(~before), before}) {
    mmio_write<u8>(gpa, value);
    if (mmio_read<u8>(gpa) != value) fail("no RAM at ", hex(gpa));
  }
}

void expect_nothing(u64 gpa) {
  map(gpa);
  if (mmio_read<u64>(gpa) != ~u64{0}) fail("something at ", hex(gpa));
  mmio_write<u64>(gpa, 0);
  if (mmio_read<u64>(gpa) != ~u64{0}) fail("something to write at ", hex(gpa));
}

}  // namespace

void run() {
  u64 total = 0, end = 0;
  for (u32 i = 0; i < memory_range_count(); ++i) {
    const MemoryRange range = memory_range(i);
    if (!range.ram || range.bytes == 0) continue;
    try_byte(range.start);
    try_byte(range.start + range.bytes - 1);
    total += range.bytes;
    if (range.start + range.bytes > end) end = range.start + range.bytes;
    if (range.start + range.bytes > 1_MiB && range.start < layout::kHoleStart) {
      expect_nothing(range.start + range.bytes);
    }
  }
  expect_nothing(layout::kHoleStart);
  expect_nothing(layout::kPciWindow.start - 8);
  expect_nothing(end);
  print("ram: ok, ", total >> 10, " KiB up to ", hex(end), "\n");
}

}  // namespace payload
