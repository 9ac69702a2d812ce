/* SPDX-License-Identifier: Apache-2.0
 *
 * The init of the benchmarks' root: says "init" and powers off. No C library: nothing but the kernel is
 * timed. */
#include <linux/reboot.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

void _start(void) {
  static const char text[] = "init\n";
  call(SYS_write, 1, (long)text, sizeof text - 1);
  for (;;) call(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF);
}
