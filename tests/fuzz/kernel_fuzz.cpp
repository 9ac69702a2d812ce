// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a kernel image, bzImage or ELF, on its way into guest memory. The input is the file itself, or
// chooses the fields of one that is well-formed otherwise. It is refused with a reason before anything is
// loaded, or it lies where it says that it does, with room for what else the guest is booted with.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "boot/boot_params.h"
#include "boot/decompress.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "boot/mapping.h"
#include "tests/fakes/bzimage_builder.h"
#include "tests/fuzz/fuzz.h"

using namespace uvmm;

namespace {

constexpr u64 kRamBytes = 4_MiB;

// A file without a directory, whose content changes with each input.
struct File {
  void write(std::span<const u8> bytes) const {
    require(::ftruncate(fd, 0) == 0);
    require(::pwrite(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  const int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
};

// Numbers that matter for places and lengths in a guest of kRamBytes, or any.
u64 number(FuzzedDataProvider& input) {
  static constexpr u64 kPlaces[] = {0, 1_MiB, 2_MiB, 3_MiB, kRamBytes, 3_GiB, 4_GiB, ~u64{0} - 0xffff};
  const u64 small = input.ConsumeIntegral<u16>();
  switch (input.ConsumeIntegralInRange(0, 3)) {
    case 0:
      return small;
    case 1:
      return input.ConsumeIntegral<u64>();
    default:
      return input.PickValueInArray(kPlaces) + small - 0x8000;
  }
}

// Leaves most fields as they are, all of them where the input is used up.
template <typename Number>
void maybe_change(FuzzedDataProvider& input, Number& field) {
  if (input.ConsumeIntegralInRange(0, 7) == 7) field = static_cast<Number>(number(input));
}

std::vector<u8> make_elf(FuzzedDataProvider& input) {
  ElfBuilder elf;
  const int segments = input.ConsumeIntegralInRange(1, 3);
  for (int i = 0; i < segments; ++i) {
    const std::vector<u8> content = input.ConsumeBytes<u8>(input.ConsumeIntegralInRange<u16>(0, 9000));
    const u64 extra = input.ConsumeBool() ? input.ConsumeIntegral<u16>() : 0;
    const u64 paddr = input.ConsumeBool() ? 2_MiB + i * 128_KiB : number(input);
    elf.load(paddr, content, content.size() + extra);
  }
  for (Elf64_Phdr& segment : elf.segments) {
    maybe_change(input, segment.p_type);
    maybe_change(input, segment.p_offset);
    maybe_change(input, segment.p_filesz);
    maybe_change(input, segment.p_memsz);
  }
  maybe_change(input, elf.header.e_type);
  maybe_change(input, elf.header.e_phnum);
  maybe_change(input, elf.header.e_phoff);
  maybe_change(input, elf.header.e_phentsize);
  maybe_change(input, elf.header.e_entry);
  return elf.bytes();
}

void change_header(FuzzedDataProvider& input, setup_header& header) {
  header.pref_address = 2_MiB;
  header.init_size = 1_MiB;
  maybe_change(input, header.setup_sects);
  maybe_change(input, header.boot_flag);
  maybe_change(input, header.jump);
  maybe_change(input, header.version);
  maybe_change(input, header.xloadflags);
  maybe_change(input, header.kernel_alignment);
  maybe_change(input, header.payload_offset);
  maybe_change(input, header.payload_length);
  maybe_change(input, header.pref_address);
  maybe_change(input, header.init_size);
  maybe_change(input, header.initrd_addr_max);
  maybe_change(input, header.cmdline_size);
}

// What some compressor might have made: one of the magic numbers, then anything.
std::vector<u8> make_stream(FuzzedDataProvider& input) {
  static const std::string kMagics[] = {"\x1f\x8b\x08",
                                        std::string("\xfd\x37zXZ\0", 6),
                                        std::string("\x5d\0\0", 3),
                                        "BZh9",
                                        "\x28\xb5\x2f\xfd",
                                        "\x02\x21\x4c\x18",
                                        std::string("\x89LZO\0\r\n\x1a\n", 9),
                                        ""};
  const std::string& magic = input.PickValueInArray(kMagics);
  std::vector<u8> stream(magic.begin(), magic.end());
  const std::vector<u8> rest = input.ConsumeBytes<u8>(input.ConsumeIntegralInRange<u16>(0, 4000));
  stream.insert(stream.end(), rest.begin(), rest.end());
  return stream;
}

std::vector<u8> make_file(FuzzedDataProvider& input) {
  std::vector<u8> file;
  switch (input.ConsumeIntegralInRange(0, 4)) {
    case 0:
      file = input.ConsumeRemainingBytes<u8>();
      break;
    case 1:
      file = make_elf(input);
      break;
    case 2:
      file = make_bzimage(make_stream(input), input.ConsumeIntegralInRange<u32>(0, 64_KiB));
      change_header(input, header_in(file));
      break;
    default: {
      const std::vector<u8> vmlinux = make_elf(input);
      u64 bytes = vmlinux.size();
      maybe_change(input, bytes);
      file = make_bzimage(gzip(vmlinux), bytes);
      change_header(input, header_in(file));
      break;
    }
  }
  if (input.ConsumeIntegralInRange(0, 7) == 7) file.resize(number(input) % (file.size() + 1));
  return file;
}

bool all_zero(std::span<const u8> bytes) {
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(&bytes[0], &bytes[1], bytes.size() - 1) == 0);
}

void check_loaded(const LoadedKernel& kernel, const Mapping& ram, const GuestMemory& memory) {
  const auto [start, bytes] = kernel.range;
  require(start >= layout::kHighMemory && bytes > 0 && start <= kRamBytes && bytes <= kRamBytes - start);
  require(address(kernel.entry) >= start && address(kernel.entry) - start < bytes);
  require(all_zero(ram.bytes().first(start)) && all_zero(ram.bytes().subspan(start + bytes)));

  static const File initrd;
  initrd.write(std::vector<u8>(5000, 'i'));
  const std::vector<std::string> paths = {initrd.path};
  const Result<layout::Range> place = load_initrds(paths, memory, kernel);
  require(place || !place.error().message.empty());
  if (place) {
    require(place->bytes == 5000 && place->start >= kernel.range.end() && place->end() <= kRamBytes);
    require(place->end() - 1 <= kernel.header.initrd_addr_max);
    require(write_boot_params({kernel.header, "console=hvc0", *place}, memory).has_value());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const File file;
  FuzzedDataProvider input(data, size);
  const bool may_map = input.ConsumeBool();
  file.write(make_file(input));

  const Mapping ram = Mapping::anonymous(kRamBytes).value();
  const GuestMemory memory({{guest(0), ram.bytes()}});
  Log log;
  const Result<LoadedKernel> kernel = load_kernel({file.path, {}, may_map}, memory, log);
  if (kernel) {
    check_loaded(*kernel, ram, memory);
  } else {
    require(kernel.error().message.size() > file.path.size());
    require(kernel.error().kind == ErrorKind::kBadData);
    require(all_zero(ram.bytes()));
  }
  return 0;
}
