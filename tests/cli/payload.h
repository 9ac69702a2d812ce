// SPDX-License-Identifier: Apache-2.0
// Payloads: guests of a few instructions, as ELF files that the command takes for kernels. Constant data.
//
// They use nothing that a KVM without hardware virtualisation could not emulate.
#pragma once

#include <elf.h>

#include <cstring>
#include <string>
#include <string_view>

namespace uvmm::test {

// An x86-64 ELF with `code` at 1 MiB, which is where it is entered.
inline std::string payload(std::string_view code) {
  constexpr Elf64_Addr kStart = 0x10'0000;
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = kStart;
  header.e_phoff = sizeof(header);
  header.e_ehsize = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_flags = PF_R | PF_X;
  segment.p_offset = sizeof(header) + sizeof(segment);
  segment.p_vaddr = segment.p_paddr = kStart;
  segment.p_filesz = segment.p_memsz = code.size();
  segment.p_align = 1;
  std::string file(sizeof(header) + sizeof(segment), '\0');
  std::memcpy(file.data(), &header, sizeof(header));
  std::memcpy(file.data() + sizeof(header), &segment, sizeof(segment));
  return file.append(code);
}

using namespace std::string_view_literals;

// mov dx, 0x601; mov al, 0x34; out dx, al; hlt in a loop: SLP_TYP 5 and SLP_EN to the sleep control register
inline constexpr std::string_view kPowerOff = "\x66\xba\x01\x06\xb0\x34\xee\xf4\xeb\xfd"sv;
// mov dx, 0x600; mov al, 0x42; out dx, al; hlt in a loop: the reset register
inline constexpr std::string_view kReset = "\x66\xba\x00\x06\xb0\x42\xee\xf4\xeb\xfd"sv;
// mov dx, 0x505; mov al, 1; out dx, al, and then the reset: a panic by way of pvpanic
inline constexpr std::string_view kPanic =
    "\x66\xba\x05\x05\xb0\x01\xee\x66\xba\x00\x06\xb0\x42\xee\xf4\xeb\xfd"sv;
// push 0; push 0; lidt [rsp]; ud2: no interrupt table, so the fault is a triple one
inline constexpr std::string_view kTripleFault =
    "\xbc\x00\x00\x20\x00\x6a\x00\x6a\x00\x0f\x01\x1c\x24\x0f\x0b"sv;
// mov dx, 0x3f8; mov al, '!'; out dx, al; mov al, 10; out dx, al; and then the power-off: a line by earlycon
inline constexpr std::string_view kEarlyconLine =
    "\x66\xba\xf8\x03\xb0\x21\xee\xb0\x0a\xee\x66\xba\x01\x06\xb0\x34\xee\xf4\xeb\xfd"sv;
// in al, 0x3f8 must be 0, and in al, 0x3fd 0x60: then the power-off, else the reset
inline constexpr std::string_view kEarlyconReads =
    "\x66\xba\xf8\x03\xec\x84\xc0\x75\x13\x66\xba\xfd\x03\xec\x3c\x60\x75\x0a"
    "\x66\xba\x01\x06\xb0\x34\xee\xf4\xeb\xfd\x66\xba\x00\x06\xb0\x42\xee\xf4\xeb\xfd"sv;
// mov eax, 0xc0000000; jmp rax: code where there is no memory, which KVM cannot run
inline constexpr std::string_view kNoMemory = "\xb8\x00\x00\x00\xc0\xff\xe0"sv;
// cli; hlt in a loop: for ever
inline constexpr std::string_view kIdle = "\xfa\xf4\xeb\xfd"sv;

}  // namespace uvmm::test
