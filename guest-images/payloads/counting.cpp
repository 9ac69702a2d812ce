// SPDX-License-Identifier: Apache-2.0
// Each vCPU reads for ever what is not there, at an exit each, so that the host sees whether vCPUs run.
#include "cpu.h"

namespace payload {
namespace {

constexpr u64 kNoDevice = layout::kEcam.start + (31 << 15);

void count() {
  for (;;) (void)mmio_read<u32>(kNoDevice);
}

}  // namespace

void run() {
  const u32 cpus = cpuid(0xb, 1).ebx;
  for (u32 id = 1; id < cpus; ++id) start_cpu(id, count);
  print(cpus, " vCPUs count\n");
  leave_kernel_mode();
  count();
}

}  // namespace payload
