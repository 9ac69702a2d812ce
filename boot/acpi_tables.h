// SPDX-License-Identifier: Apache-2.0
// ACPI's wire structs, as ACPI 6.5 (chapter 5) and PCI Firmware 3.3 (4.1.2) have them, with their names.
#pragma once

#include "vmm/base/types.h"

namespace uvmm::acpi {

struct [[gnu::packed]] RSDP {  // 5.2.5.3
  char Signature[8] = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
  u8 Checksum = 0;  // of the first 20 bytes
  char OEMID[6] = {'U', 'V', 'M', 'M'};
  u8 Revision = 2;
  le32 RsdtAddress = 0;
  le32 Length = 36;
  le64 XsdtAddress = 0;
  u8 ExtendedChecksum = 0;
  u8 Reserved[3] = {};
};
static_assert(sizeof(RSDP) == 36);

struct [[gnu::packed]] DESCRIPTION_HEADER {  // 5.2.6
  char Signature[4];
  le32 Length;
  u8 Revision;
  u8 Checksum;
  char OEMID[6];
  char OEM_Table_ID[8];
  le32 OEM_Revision;
  char Creator_ID[4];
  le32 Creator_Revision;
};
static_assert(sizeof(DESCRIPTION_HEADER) == 36);

struct [[gnu::packed]] Generic_Address {  // 5.2.3.2
  u8 Address_Space_ID;
  u8 Register_Bit_Width;
  u8 Register_Bit_Offset;
  u8 Access_Size;
  le64 Address;
};
static_assert(sizeof(Generic_Address) == 12);

// What follows the header of a FADT of revision 6 (5.2.9). Hardware-reduced ACPI ignores the fields that are
// kept as Ignored here.
struct [[gnu::packed]] FADT {
  le32 FIRMWARE_CTRL, DSDT;
  u8 Reserved0;
  u8 Preferred_PM_Profile;
  u8 Ignored0[63];
  le16 IAPC_BOOT_ARCH;  // offset 109
  u8 Reserved1;
  le32 Flags;
  Generic_Address RESET_REG;
  u8 RESET_VALUE;
  le16 ARM_BOOT_ARCH;
  u8 FADT_Minor_Version;
  le64 X_FIRMWARE_CTRL, X_DSDT;
  Generic_Address Ignored1[8];
  Generic_Address SLEEP_CONTROL_REG, SLEEP_STATUS_REG;
  char Hypervisor_Vendor_Identity[8];
};
static_assert(sizeof(DESCRIPTION_HEADER) + sizeof(FADT) == 276);
static_assert(sizeof(DESCRIPTION_HEADER) + __builtin_offsetof(FADT, IAPC_BOOT_ARCH) == 109);

// Flags (table 5.10) and IAPC_BOOT_ARCH (table 5.11).
inline constexpr le32 WBINVD = 1 << 0, PWR_BUTTON = 1 << 4, SLP_BUTTON = 1 << 5, RESET_REG_SUP = 1 << 10,
                      HW_REDUCED_ACPI = 1 << 20;
inline constexpr le16 VGA_NOT_PRESENT = 1 << 2, CMOS_RTC_NOT_PRESENT = 1 << 5;

struct [[gnu::packed]] MADT {  // 5.2.12, after the header
  le32 Local_Interrupt_Controller_Address;
  le32 Flags;
};

struct [[gnu::packed]] Processor_Local_APIC {  // 5.2.12.2
  u8 Type = 0;
  u8 Length = 8;
  u8 ACPI_Processor_UID;
  u8 APIC_ID;
  le32 Flags = 1;  // enabled
};
static_assert(sizeof(Processor_Local_APIC) == 8);

struct [[gnu::packed]] Processor_Local_x2APIC {  // 5.2.12.12
  u8 Type = 9;
  u8 Length = 16;
  le16 Reserved = 0;
  le32 X2APIC_ID;
  le32 Flags = 1;  // enabled
  le32 ACPI_Processor_UID;
};
static_assert(sizeof(Processor_Local_x2APIC) == 16);

struct [[gnu::packed]] MCFG {  // PCI Firmware 3.3, table 4-2, after the header, with one allocation (table
                               // 4-3)
  le64 Reserved0;
  le64 Base_Address;
  le16 PCI_Segment_Group_Number;
  u8 Start_Bus_Number, End_Bus_Number;
  le32 Reserved1;
};
static_assert(sizeof(MCFG) == 24);

}  // namespace uvmm::acpi
