// SPDX-License-Identifier: Apache-2.0
// Another vCPU masks, unmasks and redirects the interrupt of a disk's queue, all at random; then the
// interrupt must still come where it is wanted. On the kernel command line: writes=N. Says when a fifth is
// done, and at the end waits to be stopped.
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>

#include "cpu.h"
#include "virtio.h"

namespace payload {
namespace {

constexpr u32 kApicBase = 0x1b, kSpuriousVector = 0x80f, kPendingInterrupts = 0x820;  // x2APIC
constexpr u32 kInterrupt = 0x55;  // never taken, only pending
constexpr u16 kVector = 1;

VirtioDevice disk;
volatile u64 done = 0;

void write_entry(u32 field, u32 value) {
  mmio_write<u32>(disk.msix_table() + kVector * PCI_MSIX_ENTRY_SIZE + field, value);
}

void storm() {
  u64 random = 0x9e37'79b9'7f4a'7c15;
  for (const u64 writes = parameter("writes", 1000); done < writes;) {
    done = done + 1;
    random = random * 6364136223846793005 + 1442695040888963407;
    const u32 value = u32(random >> 32);
    switch (random >> 61) {
      case 0:
        write_entry(PCI_MSIX_ENTRY_LOWER_ADDR, value);
        break;
      case 1:
        write_entry(PCI_MSIX_ENTRY_LOWER_ADDR, u32(layout::kLocalApic >> 8) << 8 & 0xfff0'0000);
        break;
      case 2:
        write_entry(PCI_MSIX_ENTRY_UPPER_ADDR, value % 4 ? 0 : value);
        break;
      case 3:
        write_entry(PCI_MSIX_ENTRY_DATA, value % 256);  // in no mode that ends a vCPU, as INIT does
        break;
      case 4:
        disk.enable_msix(value % 4 != 0);
        break;
      default:
        write_entry(PCI_MSIX_ENTRY_VECTOR_CTRL, value & PCI_MSIX_ENTRY_CTRL_MASKBIT);
    }
  }
}

bool is_pending() {
  return read_msr(kPendingInterrupts + kInterrupt / 32) >> kInterrupt % 32 & 1;
}

}  // namespace

void run() {
  const u64 writes = parameter("writes", 1000);
  if (!disk.open(VIRTIO_ID_BLOCK)) fail("no disk");
  print("vectors\n");
  disk.negotiate(0);
  VirtQueue queue = disk.set_up_queue(0);
  disk.set_vector(0, kVector);
  disk.driver_ok();
  reinterpret_cast<vring_avail*>(queue.available())->flags = 0;  // interrupts, please

  static virtio_blk_outhdr header;
  static u8 sector[512], status;
  const auto read_sector = [&] {
    header = {.type = VIRTIO_BLK_T_IN, .ioprio = 0, .sector = 0};
    if (queue.transfer(
            {{&header, sizeof header, false}, {sector, sizeof sector, true}, {&status, 1, true}}) !=
        sizeof sector + 1)
      fail("a read failed");
  };
  start_cpu(1, storm);
  bool announced = false;
  while (done < writes) {
    read_sector();
    if (done < writes / 5 || announced) continue;
    print("a fifth\n");
    announced = true;
  }

  write_entry(PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
  write_entry(PCI_MSIX_ENTRY_LOWER_ADDR, u32(layout::kLocalApic));
  write_entry(PCI_MSIX_ENTRY_UPPER_ADDR, 0);
  write_entry(PCI_MSIX_ENTRY_DATA, kInterrupt);
  disk.enable_msix(true);
  write_entry(PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
  read_sector();
  for (u32 i = 0; i < 1'000'000 && !is_pending(); ++i) asm volatile("pause");
  if (!is_pending()) fail("no interrupt comes any more");
  print("all\n");
  halt();
}

}  // namespace payload
