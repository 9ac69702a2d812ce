// SPDX-License-Identifier: Apache-2.0
// Kernel images that are well-formed, for tests to spoil.
#pragma once

#include <asm/bootparam.h>
#include <elf.h>

#include <span>
#include <string_view>
#include <vector>

#include "vmm/base/types.h"

namespace uvmm {

// An ELF executable. Change the public fields at will before bytes().
class ElfBuilder {
 public:
  ElfBuilder();

  // A PT_LOAD segment whose file offset is congruent to its address modulo the page size.
  ElfBuilder& load(u64 paddr, std::span<const u8> content, u64 memory_bytes);
  ElfBuilder& load(u64 paddr, std::span<const u8> content) { return load(paddr, content, content.size()); }

  std::vector<u8> bytes() const;

  Elf64_Ehdr header{};
  std::vector<Elf64_Phdr> segments;

 private:
  std::vector<u8> content_;
};

// A vmlinux with one segment of `content` at 16 MiB, where it is entered.
std::vector<u8> make_vmlinux(std::span<const u8> content);

// A bzImage around what a compressor made of a vmlinux; `vmlinux_bytes` is appended as the kernel's build
// does.
std::vector<u8> make_bzimage(std::span<const u8> compressed, u64 vmlinux_bytes);

// The setup header in the image.
setup_header& header_in(std::vector<u8>& bzimage);

// A bzImage of `vmlinux` compressed by gzip.
std::vector<u8> make_gzip_bzimage(std::span<const u8> vmlinux);
std::vector<u8> gzip(std::span<const u8> content);

}  // namespace uvmm
