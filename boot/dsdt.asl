// SPDX-License-Identifier: Apache-2.0
// What the guest cannot discover by itself: that it can be switched off, and where its PCI bus is. The addresses are
// those of arch/x86_64/layout.h. Compiled by boot/dsdt.sh to boot/dsdt_aml.inc.
DefinitionBlock ("", "DSDT", 2, "UVMM", "UVMMDSDT", 1)
{
    Name (\_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0xD0000000, 0xDFFFFFFF, 0, 0x10000000)
            })
        }

        // Linux uses ECAM only where a motherboard resource reserves it.
        Device (ECAM)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xE0000000, 0x00100000)
            })
        }

        // pvpanic: the guest's kernel says here that it panicked.
        Device (PANC)
        {
            Name (_HID, "QEMU0001")
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0505, 0x0505, 1, 1)
            })
        }
    }
}
