// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi.h"

#include <cstring>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "arch/x86_64/layout.h"
#include "boot/acpi_tables.h"

namespace uvmm {
namespace {

constexpr u8 kDsdt[] = {
#include "boot/dsdt_aml.inc"
};

constexpr u8 kSystemIoSpace = 1;
constexpr u8 kByteAccess = 1;

template <typename T>
std::span<const u8> bytes_of(const T& value) {
  return {reinterpret_cast<const u8*>(&value), sizeof(value)};
}

// The byte that makes the sum of all zero.
u8 checksum(std::span<const u8> bytes) {
  return static_cast<u8>(-std::accumulate(bytes.begin(), bytes.end(), u8{0},
                                          [](u8 sum, u8 byte) { return static_cast<u8>(sum + byte); }));
}

std::vector<u8> table(std::string_view signature, u8 revision, std::span<const u8> body) {
  acpi::DESCRIPTION_HEADER header{};
  std::memcpy(header.Signature, signature.data(), sizeof(header.Signature));
  header.Length = static_cast<le32>(sizeof(header) + body.size());
  header.Revision = revision;
  std::memcpy(header.OEMID, "UVMM\0", 6);
  std::memcpy(header.OEM_Table_ID, "UVMM\0\0\0", 8);
  header.OEM_Revision = 1;
  std::memcpy(header.Creator_ID, "UVMM", 4);
  header.Creator_Revision = 1;
  std::vector<u8> bytes(bytes_of(header).begin(), bytes_of(header).end());
  bytes.insert(bytes.end(), body.begin(), body.end());
  bytes[offsetof(acpi::DESCRIPTION_HEADER, Checksum)] = checksum(bytes);
  return bytes;
}

acpi::Generic_Address byte_port(u16 port) {
  return {.Address_Space_ID = kSystemIoSpace,
          .Register_Bit_Width = 8,
          .Register_Bit_Offset = 0,
          .Access_Size = kByteAccess,
          .Address = port};
}

std::vector<u8> fadt(GuestAddress dsdt) {
  acpi::FADT body{};
  // Not LEGACY_DEVICES, not 8042, and MSI is supported.
  body.IAPC_BOOT_ARCH = acpi::VGA_NOT_PRESENT | acpi::CMOS_RTC_NOT_PRESENT;
  // The two button flags say that there is no such button among the fixed hardware.
  body.Flags =
      acpi::HW_REDUCED_ACPI | acpi::RESET_REG_SUP | acpi::WBINVD | acpi::PWR_BUTTON | acpi::SLP_BUTTON;
  body.RESET_REG = byte_port(layout::kResetPort);
  body.RESET_VALUE = layout::kResetValue;
  body.FADT_Minor_Version = 5;
  body.X_DSDT = address(dsdt);
  body.SLEEP_CONTROL_REG = byte_port(layout::kSleepControlPort);
  body.SLEEP_STATUS_REG = byte_port(layout::kSleepStatusPort);
  std::memcpy(body.Hypervisor_Vendor_Identity, "KVMKVMKV", sizeof(body.Hypervisor_Vendor_Identity));
  return table("FACP", 6, bytes_of(body));
}

// No IOAPIC and no 8259 (PCAT_COMPAT is clear): interrupts are MSIs.
std::vector<u8> madt(u32 cpus) {
  const acpi::MADT fixed = {.Local_Interrupt_Controller_Address = layout::kLocalApic, .Flags = 0};
  std::vector<u8> body(bytes_of(fixed).begin(), bytes_of(fixed).end());
  for (u32 id = 0; id < cpus; ++id) {
    constexpr u32 kFirstX2ApicId = 255;  // 5.2.12.12: the id does not fit the older structure
    const acpi::Processor_Local_APIC narrow = {.ACPI_Processor_UID = static_cast<u8>(id),
                                               .APIC_ID = static_cast<u8>(id)};
    const acpi::Processor_Local_x2APIC wide = {.X2APIC_ID = id, .ACPI_Processor_UID = id};
    const auto entry = id < kFirstX2ApicId ? bytes_of(narrow) : bytes_of(wide);
    body.insert(body.end(), entry.begin(), entry.end());
  }
  return table("APIC", 6, body);
}

std::vector<u8> mcfg() {
  const acpi::MCFG body = {.Base_Address = layout::kEcam.start, .Start_Bus_Number = 0, .End_Bus_Number = 0};
  return table("MCFG", 1, bytes_of(body));
}

acpi::RSDP rsdp(GuestAddress xsdt) {
  acpi::RSDP pointer;
  pointer.XsdtAddress = address(xsdt);
  pointer.Checksum = checksum(bytes_of(pointer).first(20));
  pointer.ExtendedChecksum = checksum(bytes_of(pointer));
  return pointer;
}

// Puts tables one behind the other where they belong.
class TableArea {
 public:
  explicit TableArea(const GuestMemory& memory) : memory_(memory) {}

  Result<GuestAddress> add(std::span<const u8> table) {
    const u64 start = next_;
    const auto target = memory_.slice(guest(start), table.size());
    if (!target || table.size() > layout::kAcpiTables.end() - start)
      return fail(ErrorKind::kBadData, "the ACPI tables of so many CPUs do not fit");
    std::memcpy(target->data(), table.data(), table.size());
    next_ = align_up(start + table.size(), kTableAlignment);
    return guest(start);
  }

 private:
  static constexpr u64 kTableAlignment = 16;

  const GuestMemory& memory_;
  u64 next_ = layout::kAcpiTables.start + align_up(sizeof(acpi::RSDP), kTableAlignment);
};

}  // namespace

Result<void> write_acpi_tables(const GuestMemory& memory, u32 cpus) {
  TableArea area(memory);
  const GuestAddress dsdt = UVMM_TRY(area.add(kDsdt));
  const le64 tables[] = {
      address(UVMM_TRY(area.add(fadt(dsdt)))),
      address(UVMM_TRY(area.add(madt(cpus)))),
      address(UVMM_TRY(area.add(mcfg()))),
  };
  const GuestAddress xsdt = UVMM_TRY(area.add(table("XSDT", 1, bytes_of(tables))));
  if (!memory.write(guest(layout::kAcpiTables.start), rsdp(xsdt)))
    return fail(ErrorKind::kBadData, "the guest's memory is too small");
  return {};
}

}  // namespace uvmm
