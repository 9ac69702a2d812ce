// SPDX-License-Identifier: Apache-2.0
// Lists the functions of PCI bus 0, as "00:01.0 1af4:1042 class 010000".
#include <linux/pci_regs.h>

#include "pci.h"

void payload::run() {
  for (u32 number = 0; number < kPciDevices; ++number) {
    const PciDevice device{number};
    if (!device.present()) continue;
    print("00:", hex(number >> 4), hex(number & 15), ".0 ", hex(device.read<u16>(PCI_VENDOR_ID)), ":",
          hex(device.read<u16>(PCI_DEVICE_ID)), " class ", hex(device.read<u32>(PCI_CLASS_REVISION) >> 8),
          " bar ", hex(device.read<u32>(PCI_BASE_ADDRESS_0)), "\n");
  }
}
