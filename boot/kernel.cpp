// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel.h"

#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "boot/bzimage.h"
#include "boot/decompress.h"
#include "boot/elf.h"
#include "boot/input_file.h"
#include "boot/kernel_cache.h"
#include "boot/mapping.h"

namespace uvmm {
namespace {

constexpr u64 kMaxFileBytes = 1_GiB;
constexpr u64 kMaxUnpackedBytes = 1_GiB;

// An unpacked kernel as a file that nobody changes: an entry of the cache or a memfd.
struct Unpacked {
  Fd fd;
  u64 bytes = 0;
};

bool is_elf(std::span<const u8> head) {
  return head.size() >= SELFMAG && std::memcmp(head.data(), ELFMAG, SELFMAG) == 0;
}

// What boot_params tell a kernel that came without a setup header.
setup_header header_for_elf(const LoadedElf& elf) {
  setup_header header{};
  header.boot_flag = 0xAA55;
  header.header = 0x5372'6448;  // "HdrS"
  header.version = 0x020f;
  header.loadflags = LOADED_HIGH;
  header.initrd_addr_max = 0x7fff'ffff;
  header.kernel_alignment = 2_MiB;
  header.relocatable_kernel = 0;
  header.xloadflags = XLF_KERNEL_64;
  header.cmdline_size = 2047;  // COMMAND_LINE_SIZE of x86 less the final NUL
  header.pref_address = elf.range.start;
  header.init_size = static_cast<u32>(elf.range.bytes);
  return header;
}

Result<Mapping> read_payload(const InputFile& file, const BzImage& image) {
  std::array<u8, 16> magic{};
  const u64 magic_bytes = std::min<u64>(magic.size(), image.payload_bytes);
  if (read_exactly(file.fd.get(), std::span(magic).first(magic_bytes), image.payload_offset) != 0 ||
      !is_compressed(magic))
    return fail(ErrorKind::kBadData, "its compression is unknown");
  Mapping payload = UVMM_TRY(Mapping::anonymous(image.payload_bytes));
  if (const int error = read_exactly(file.fd.get(), payload.bytes(), image.payload_offset); error != 0)
    return fail(ErrorKind::kBadData, "its payload cannot be read: {}", read_error_text(error));
  return payload;
}

// Whether the file is what it was when it was opened, so that what was read is the content of what was
// examined.
bool is_unchanged(const InputFile& file) {
  struct stat now{};
  const struct stat& then = file.status;
  return ::fstat(file.fd.get(), &now) == 0 && now.st_size == then.st_size &&
         now.st_mtim.tv_sec == then.st_mtim.tv_sec && now.st_mtim.tv_nsec == then.st_mtim.tv_nsec &&
         now.st_ctim.tv_sec == then.st_ctim.tv_sec && now.st_ctim.tv_nsec == then.st_ctim.tv_nsec;
}

Result<Unpacked> unpack(std::span<const u8> payload, const KernelCache* cache, const std::string& key) {
  le32 size;  // the payload's last word, which the kernel's build appends or gzip has anyway
  std::memcpy(&size, payload.data() + payload.size() - sizeof(size), sizeof(size));
  if (size == 0 || size > kMaxUnpackedBytes)
    return fail(ErrorKind::kBadData, "it claims to unpack to {} bytes", size);
  Fd fd(::memfd_create("uvmm-kernel", MFD_CLOEXEC));
  if (!fd || ::ftruncate(fd.get(), size) != 0)
    return fail(ErrorKind::kHost, "cannot create a memory file: {}", error_text(errno));
  const Mapping target = UVMM_TRY(Mapping::shared(fd.get(), size));
  UVMM_CHECK(decompress(payload, target.bytes()));
  // From the page cache, many VMs share one copy.
  if (cache && cache->store(key, target.bytes())) {
    if (auto entry = cache->find(key)) return Unpacked{std::move(entry->fd), entry->bytes};
  }
  return Unpacked{std::move(fd), size};
}

Result<LoadedElf> load_unpacked(const Unpacked& unpacked, const GuestMemory& memory, bool may_map) {
  return load_elf({unpacked.fd.get(), unpacked.bytes, may_map}, memory);
}

// The short way: what the cache has of this very file, neither read nor hashed.
std::optional<LoadedElf> load_recalled(const InputFile& file, const KernelCache& cache,
                                       const GuestMemory& memory, bool may_map) {
  const auto key = cache.recall(file.status);
  if (!key) return std::nullopt;
  auto entry = cache.find(*key);
  if (!entry) return std::nullopt;
  auto elf = load_unpacked({std::move(entry->fd), entry->bytes}, memory, may_map);
  if (!elf) return std::nullopt;
  return *elf;
}

Result<LoadedElf> load_payload(const InputFile& file, const BzImage& image, const KernelSource& source,
                               const GuestMemory& memory, Log& log) {
  const auto cache = KernelCache::open(source.cache_directory, log);
  if (cache) {
    if (const auto elf = load_recalled(file, *cache, memory, source.may_map)) return *elf;
  }
  const Mapping payload = UVMM_TRY(read_payload(file, image));
  std::string key;
  if (cache) {
    key = KernelCache::key_of(payload.bytes());
    if (is_unchanged(file)) cache->remember(file.status, key);
    if (auto entry = cache->find(key)) {
      auto elf = load_unpacked({std::move(entry->fd), entry->bytes}, memory, source.may_map);
      if (elf) return elf;
    }
  }
  const Unpacked unpacked = UVMM_TRY(unpack(payload.bytes(), cache ? &*cache : nullptr, key));
  log.debug("unpacked {}: {} bytes", source.path, unpacked.bytes);
  return load_unpacked(unpacked, memory, source.may_map);
}

Result<LoadedKernel> load_bzimage(const InputFile& file, std::span<const u8> head, const KernelSource& source,
                                  const GuestMemory& memory, Log& log) {
  const auto low_ram = memory.prefix(guest(0), layout::kHoleStart);
  const BzImage image = UVMM_TRY(parse_bzimage(head, file.bytes(), low_ram.size()));
  const LoadedElf elf = UVMM_TRY(load_payload(file, image, source, memory, log));
  // Both what the header asks to be left free and what was loaded.
  const u64 start = std::min<u64>(elf.range.start, image.header.pref_address);
  const u64 end = std::max<u64>(elf.range.end(), image.header.pref_address + image.header.init_size);
  return LoadedKernel{elf.entry, {start, end - start}, image.header};
}

Result<LoadedKernel> load_any(const InputFile& file, const KernelSource& source, const GuestMemory& memory,
                              Log& log) {
  if (file.bytes() > kMaxFileBytes)
    return fail(ErrorKind::kBadData, "it has {} bytes, more than any kernel", file.bytes());
  std::array<u8, kBzImageHeadBytes> buffer{};
  const std::span<u8> head = std::span(buffer).first(std::min<u64>(buffer.size(), file.bytes()));
  if (const int error = read_exactly(file.fd.get(), head, 0); error != 0)
    return fail(ErrorKind::kHost, "{}", read_error_text(error));
  if (looks_like_bzimage(head)) return load_bzimage(file, head, source, memory, log);
  if (!is_elf(head)) return fail(ErrorKind::kBadData, "it is neither a bzImage nor an ELF file");
  // The user's file may change while the VM runs: it is read, never mapped.
  const LoadedElf elf = UVMM_TRY(load_elf({file.fd.get(), file.bytes(), false}, memory));
  return LoadedKernel{elf.entry, elf.range, header_for_elf(elf)};
}

}  // namespace

Result<LoadedKernel> load_kernel(const KernelSource& source, const GuestMemory& memory, Log& log) {
  const InputFile file = UVMM_TRY(open_input_file("kernel", source.path));
  auto kernel = load_any(file, source, memory, log);
  if (!kernel)
    kernel.error().message = fmt::format("cannot use kernel {}: {}", source.path, kernel.error().message);
  return kernel;
}

}  // namespace uvmm
