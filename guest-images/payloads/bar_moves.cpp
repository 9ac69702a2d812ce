// SPDX-License-Identifier: Apache-2.0
// Writes other addresses into a disk's BAR, and turns its memory decoding off and on, while another vCPU
// rings its doorbell without end; the disk must serve all the while. On the kernel command line: moves=N.
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>

#include "cpu.h"
#include "virtio.h"

namespace payload {
namespace {

VirtQueue queue;
volatile bool stop = false, stopped = false;
volatile u64 rings = 0;

void ring_without_end() {
  while (!stop) {
    queue.ring();
    rings = rings + 1;
  }
  stopped = true;
}

}  // namespace

void run() {
  VirtioDevice disk;
  if (!disk.open(VIRTIO_ID_BLOCK)) fail("no disk");
  print("moves\n");
  disk.negotiate(0);
  queue = disk.set_up_queue(0);
  disk.driver_ok();
  start_cpu(1, ring_without_end);
  const u64 moves = parameter("moves", 100);
  leave_kernel_mode();

  static virtio_blk_outhdr header;
  static u8 sector[512], status;
  const u32 home = disk.pci().read<u32>(PCI_BASE_ADDRESS_0);
  const u32 places[] = {0,
                        0xfee0'0000,
                        u32(layout::kEcam.start),
                        u32(layout::kPciWindow.start),
                        ~u32{0},
                        home + 32 * 1024,
                        0x10'0000,
                        home};
  for (u64 i = 0; i < moves; ++i) {
    disk.pci().write<u32>(PCI_BASE_ADDRESS_0, places[i % 8]);
    disk.pci().write<u16>(PCI_COMMAND, u16(PCI_COMMAND_MASTER | (i % 3 ? PCI_COMMAND_MEMORY : 0)));
    header = {.type = VIRTIO_BLK_T_IN, .ioprio = 0, .sector = 0};
    if (queue.transfer(
            {{&header, sizeof header, false}, {sector, sizeof sector, true}, {&status, 1, true}}) !=
        sizeof sector + 1)
      fail("a read failed after move ", i);
  }
  stop = true;
  while (!stopped) asm volatile("pause");
  print("moves: ", moves, " under ", u64{rings}, " rings\n");
}

}  // namespace payload
