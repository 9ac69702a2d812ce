// SPDX-License-Identifier: Apache-2.0
#include "boot/elf.h"

#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "boot/input_file.h"

namespace uvmm {
namespace {

constexpr u16 kMaxProgramHeaders = 64;  // a vmlinux has 5

Result<Elf64_Ehdr> read_header(const ElfFile& file) {
  Elf64_Ehdr header{};
  if (const int error = read_exactly(file.fd, {reinterpret_cast<u8*>(&header), sizeof(header)}, 0);
      error != 0)
    return fail(ErrorKind::kBadData, "its ELF header cannot be read: {}", read_error_text(error));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return fail(ErrorKind::kBadData, "it is not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_machine != EM_X86_64)
    return fail(ErrorKind::kBadData, "it is an ELF file, but not for x86-64");
  // A relocatable object or a core dump has segments that mean something else, or none.
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
    return fail(ErrorKind::kBadData, "it is an ELF file of type {}, not an executable", header.e_type);
  if (header.e_phentsize != sizeof(Elf64_Phdr))
    return fail(ErrorKind::kBadData, "its ELF program headers have {} bytes each, not {}", header.e_phentsize,
                sizeof(Elf64_Phdr));
  if (header.e_phnum == 0 || header.e_phnum > kMaxProgramHeaders)
    return fail(ErrorKind::kBadData, "it has {} ELF program headers, not 1 to {}", header.e_phnum,
                kMaxProgramHeaders);
  if (header.e_phoff > file.bytes || header.e_phnum * sizeof(Elf64_Phdr) > file.bytes - header.e_phoff)
    return fail(ErrorKind::kBadData, "its ELF program headers are beyond the end of the file");
  return header;
}

bool overlap(const Elf64_Phdr& a, const Elf64_Phdr& b) {
  return a.p_paddr < b.p_paddr + b.p_memsz && b.p_paddr < a.p_paddr + a.p_memsz;
}

Result<void> check_segment(const Elf64_Phdr& segment, const ElfFile& file, const GuestMemory& memory) {
  if (segment.p_offset > file.bytes || segment.p_filesz > file.bytes - segment.p_offset)
    return fail(ErrorKind::kBadData, "its ELF segment at file offset {:#x} is beyond the end of the file",
                segment.p_offset);
  if (segment.p_type == PT_NOTE && segment.p_filesz == 0)
    return fail(ErrorKind::kBadData, "it has an empty ELF note");
  if (segment.p_type != PT_LOAD) return {};
  if (segment.p_memsz < segment.p_filesz)
    return fail(ErrorKind::kBadData, "its ELF segment at {:#x} has {:#x} bytes for {:#x} bytes of memory",
                segment.p_paddr, segment.p_filesz, segment.p_memsz);
  if (segment.p_paddr < layout::kHighMemory)
    return fail(ErrorKind::kBadData, "its ELF segment at {:#x} is below 1 MiB", segment.p_paddr);
  if (!memory.slice(guest(segment.p_paddr), segment.p_memsz))
    return with_hint(
        fail(ErrorKind::kBadData, "its ELF segment at {:#x} of {:#x} bytes is outside the guest's RAM",
             segment.p_paddr, segment.p_memsz),
        "give the guest more memory");
  return {};
}

// The checked PT_LOAD segments, none empty.
Result<std::vector<Elf64_Phdr>> read_segments(const Elf64_Ehdr& header, const ElfFile& file,
                                              const GuestMemory& memory) {
  std::vector<Elf64_Phdr> table(header.e_phnum);
  const std::span<u8> bytes(reinterpret_cast<u8*>(table.data()), table.size() * sizeof(Elf64_Phdr));
  if (const int error = read_exactly(file.fd, bytes, header.e_phoff); error != 0)
    return fail(ErrorKind::kBadData, "its ELF program headers cannot be read: {}", read_error_text(error));
  std::vector<Elf64_Phdr> segments;
  for (const Elf64_Phdr& segment : table) {
    if (segment.p_type == PT_LOAD && segment.p_memsz == 0 && segment.p_filesz == 0) continue;
    UVMM_CHECK(check_segment(segment, file, memory));
    if (segment.p_type != PT_LOAD) continue;
    for (const Elf64_Phdr& other : segments)
      if (overlap(segment, other))
        return fail(ErrorKind::kBadData, "its ELF segments at {:#x} and {:#x} overlap", other.p_paddr,
                    segment.p_paddr);
    segments.push_back(segment);
  }
  if (segments.empty()) return fail(ErrorKind::kBadData, "it has no ELF segment to load");
  return segments;
}

// Reads the part of the file that belongs at `target`, which is `offset` into the file.
Result<void> copy(const ElfFile& file, std::span<u8> target, u64 offset) {
  const int error = read_exactly(file.fd, target, offset);
  if (error == 0) return {};
  return fail(error < 0 ? ErrorKind::kBadData : ErrorKind::kHost, "cannot read {} bytes at {:#x}: {}",
              target.size(), offset, read_error_text(error));
}

Result<void> load_segment(const Elf64_Phdr& segment, const ElfFile& file, const GuestMemory& memory) {
  const std::span<u8> target = memory.prefix(guest(segment.p_paddr), segment.p_filesz);
  const u64 host = reinterpret_cast<u64>(target.data());
  const u64 head = align_up(host, kPageSize) - host;  // bytes before the first whole page
  const bool congruent = (host - segment.p_offset) % kPageSize == 0;
  if (!file.may_map || !congruent || target.size() < head + kPageSize)
    return copy(file, target, segment.p_offset);

  const u64 mapped = align_down(target.size() - head, kPageSize);
  void* const pages = target.data() + head;
  if (::mmap(pages, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file.fd,
             static_cast<off_t>(segment.p_offset + head)) == MAP_FAILED)
    return fail(ErrorKind::kHost, "cannot map {} bytes into the guest's memory: {}", mapped,
                error_text(errno));
  // The rest of the last page stays RAM, so that no byte of the file behind the segment shows in it.
  UVMM_CHECK(copy(file, target.first(head), segment.p_offset));
  return copy(file, target.subspan(head + mapped), segment.p_offset + head + mapped);
}

}  // namespace

Result<LoadedElf> load_elf(const ElfFile& file, const GuestMemory& memory) {
  const Elf64_Ehdr header = UVMM_TRY(read_header(file));
  const std::vector<Elf64_Phdr> segments = UVMM_TRY(read_segments(header, file, memory));
  const bool entry_is_loaded = std::ranges::any_of(segments, [&](const Elf64_Phdr& segment) {
    return header.e_entry >= segment.p_paddr && header.e_entry - segment.p_paddr < segment.p_filesz;
  });
  if (!entry_is_loaded)
    return fail(ErrorKind::kBadData, "its ELF entry point {:#x} is in no loaded segment", header.e_entry);
  u64 start = ~u64{0};
  u64 end = 0;
  for (const Elf64_Phdr& segment : segments) {
    UVMM_CHECK(load_segment(segment, file, memory));
    start = std::min(start, segment.p_paddr);
    end = std::max(end, segment.p_paddr + segment.p_memsz);
  }
  return LoadedElf{guest(header.e_entry), {start, end - start}};
}

}  // namespace uvmm
