// SPDX-License-Identifier: Apache-2.0
// The ACPI tables: the machine as hardware-reduced ACPI describes it. Before the guest runs; any one thread.
#pragma once

#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

// Writes RSDP, XSDT, FADT, MADT, MCFG and DSDT to layout::kAcpiTables, the RSDP first. The APIC ids of the
// `cpus` vCPUs are 0, 1, 2 and so on.
Result<void> write_acpi_tables(const GuestMemory& memory, u32 cpus);

}  // namespace uvmm
