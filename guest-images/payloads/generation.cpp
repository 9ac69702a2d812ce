// SPDX-License-Identifier: Apache-2.0
// Reads the console's size by the rule of virtio 1.2, 4.1.4.3.1 while the host resizes it to so many columns
// and half as many rows, again and again: never a half of one size and a half of another. On the kernel
// command line: reads=N.
#include <linux/virtio_console.h>

#include "virtio.h"

namespace payload {

void run() {
  VirtioDevice console;
  if (!console.open(VIRTIO_ID_CONSOLE)) fail("no console");
  print("reading\n");  // the runtime's own driver sets the device up anew
  leave_kernel_mode();

  u16 last = 0;
  u64 whole = 0, changes = 0;
  for (u64 left = parameter("reads", 1000); left > 0; --left) {
    const u8 before = console.generation();
    const u16 columns = console.config<u16>(offsetof(virtio_console_config, cols));
    const u16 rows = console.config<u16>(offsetof(virtio_console_config, rows));
    if (console.generation() != before) continue;
    if (columns != rows * 2) fail(u32{columns}, " columns, ", u32{rows}, " rows in generation ", u32{before});
    ++whole;
    changes += columns != last;
    last = columns;
  }
  if (changes < 2) fail(changes, " changes in ", whole, " sizes");
  print("generation: ok\n");
}

}  // namespace payload
