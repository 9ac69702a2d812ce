// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/bzimage_builder.h"

#include <zlib.h>

#include <cstring>
#include <stdexcept>

namespace uvmm {
namespace {

constexpr u64 kContentAt = 8_KiB;  // in an ELF file: room for 64 program headers and more
constexpr u64 kSetupBytes = 5 * 512;

}  // namespace

ElfBuilder::ElfBuilder() {
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
}

ElfBuilder& ElfBuilder::load(u64 paddr, std::span<const u8> content, u64 memory_bytes) {
  content_.resize(align_up(content_.size(), kPageSize) + paddr % kPageSize, 0xcc);
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_flags = PF_R | PF_W | PF_X;
  segment.p_offset = kContentAt + content_.size();
  segment.p_vaddr = 0xffff'ffff'8000'0000 + paddr;
  segment.p_paddr = paddr;
  segment.p_filesz = content.size();
  segment.p_memsz = memory_bytes;
  segment.p_align = kPageSize;
  segments.push_back(segment);
  content_.insert(content_.end(), content.begin(), content.end());
  if (header.e_phnum++ == 0) header.e_entry = paddr;
  return *this;
}

std::vector<u8> ElfBuilder::bytes() const {
  std::vector<u8> file(kContentAt);
  std::memcpy(file.data(), &header, sizeof(header));
  std::memcpy(file.data() + sizeof(header), segments.data(), segments.size() * sizeof(Elf64_Phdr));
  file.insert(file.end(), content_.begin(), content_.end());
  file.insert(file.end(), 100, 0xcc);  // a real one ends in relocations, section headers or symbols
  return file;
}

std::vector<u8> make_vmlinux(std::span<const u8> content) {
  return ElfBuilder().load(16_MiB, content).bytes();
}

std::vector<u8> make_bzimage(std::span<const u8> compressed, u64 vmlinux_bytes) {
  constexpr u32 kPayloadOffset = 0x300;
  std::vector<u8> image(kSetupBytes + kPayloadOffset);
  image.insert(image.end(), compressed.begin(), compressed.end());
  const le32 size = static_cast<le32>(vmlinux_bytes);
  const auto* const size_bytes = reinterpret_cast<const u8*>(&size);
  image.insert(image.end(), size_bytes, size_bytes + sizeof(size));

  setup_header& header = header_in(image);
  header.setup_sects = 4;
  header.boot_flag = 0xAA55;
  header.jump = 0x6aeb;
  header.header = 0x53726448;
  header.version = 0x020f;
  header.loadflags = LOADED_HIGH;
  header.initrd_addr_max = 0x7fff'ffff;
  header.kernel_alignment = 2_MiB;
  header.relocatable_kernel = 1;
  header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  header.cmdline_size = 2047;
  header.payload_offset = kPayloadOffset;
  header.payload_length = static_cast<u32>(image.size() - kSetupBytes - kPayloadOffset);
  header.pref_address = 16_MiB;
  header.init_size = 4_MiB;
  image.resize(image.size() + 512);  // a real one ends in a sum
  return image;
}

setup_header& header_in(std::vector<u8>& bzimage) {
  return *reinterpret_cast<setup_header*>(&bzimage[offsetof(boot_params, hdr)]);
}

std::vector<u8> gzip(std::span<const u8> content) {
  z_stream stream{};
  constexpr int kGzipHeader = 16;
  if (::deflateInit2(&stream, 1, Z_DEFLATED, MAX_WBITS + kGzipHeader, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("zlib cannot be initialised");
  std::vector<u8> packed(::deflateBound(&stream, content.size()));
  stream.next_in = const_cast<u8*>(content.data());
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  if (::deflate(&stream, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("zlib cannot compress");
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  return packed;
}

std::vector<u8> make_gzip_bzimage(std::span<const u8> vmlinux) {
  return make_bzimage(gzip(vmlinux), vmlinux.size());
}

}  // namespace uvmm
