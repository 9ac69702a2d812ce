// SPDX-License-Identifier: Apache-2.0
// Looks for hardware that is not there: reads and writes every I/O port but the machine's own few, and 100
// 000 places outside RAM and the PCI windows. All must read as ones.
#include "payload.h"

namespace payload {
namespace {

constexpr u32 kPlaces = 100'000;

bool is_ours(u32 port) {
  return port == layout::kResetPort || port == layout::kSleepControlPort ||
         port == layout::kSleepStatusPort || port == layout::kPanicPort;
}

template <typename T>
void try_port(u16 port) {
  if (in<T>(port) != T(~T{0})) fail("something at port ", hex(port));
}

// Those that software would look at first: each with each width, and what would reset the machine.
void try_legacy_devices() {
  constexpr u16 kPorts[] = {0x20,  0x21,  0xa0,  0xa1,   // PIC
                            0x40,  0x43,  0x61,          // PIT
                            0x70,  0x71,                 // RTC
                            0x60,  0x64,  0x92,          // i8042
                            0x3f8, 0x3fd, 0x2f8, 0x3e8,  // UARTs
                            0x3c0, 0x3d4,                // VGA
                            0xcf8, 0xcf9, 0xcfc};        // PCI
  for (const u16 port : kPorts) {
    try_port<u8>(port);
    if (port % 2 == 0) try_port<u16>(port);
    if (port % 4 == 0) try_port<u32>(port);
  }
  out<u8>(0x64, 0xfe);
  out<u8>(0xcf9, 0x06);
  out<u8>(0x92, 0x01);
  out<u32>(0xcf8, 0x8000'0000);
  try_port<u32>(0xcfc);
}

template <typename T>
void try_place(u64 gpa) {
  mmio_write<T>(gpa, 0);
  if (mmio_read<T>(gpa) != T(~T{0})) fail("something at ", hex(gpa));
}

}  // namespace

void run() {
  try_legacy_devices();
  for (u32 port = 0; port < 0x1'0000; ++port) {
    if (is_ours(port)) continue;
    out<u8>(u16(port), 0);
    try_port<u8>(u16(port));
  }
  print("ports: ok\n");

  // From behind the ECAM to the local APIC, then its neighbours at the end of the hole.
  constexpr u64 kStart = layout::kEcam.end();
  constexpr u64 kStep = align_down((layout::kLocalApic - kStart) / kPlaces, 8);
  for (u32 i = 0; i < kPlaces; ++i) {
    const u64 gpa = kStart + i * kStep;
    switch (i % 4) {
      case 0:
        try_place<u8>(gpa + 7);
        break;
      case 1:
        try_place<u16>(gpa + 6);
        break;
      case 2:
        try_place<u32>(gpa + 4);
        break;
      case 3:
        try_place<u64>(gpa);
        break;
    }
  }
  try_place<u32>(0xfec0'0000);  // I/O APIC
  try_place<u32>(0xfed0'0000);  // HPET
  try_place<u64>(4_GiB - 8);    // reset vector
  print("holes: ok\n");
}

}  // namespace payload
