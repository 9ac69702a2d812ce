// SPDX-License-Identifier: Apache-2.0
#include "boot/decompress.h"

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "boot/byte_reader.h"

namespace uvmm {
namespace {

using namespace std::string_view_literals;

// Each unpacks a whole stream into `unpacked` and returns how many bytes that gave, or nothing if the stream
// is damaged or would give more.
using Unpacker = std::optional<u64> (*)(std::span<const u8> packed, std::span<u8> unpacked);

constexpr u64 kMemoryLimit = 256_MiB;

std::optional<u64> unpack_gzip(std::span<const u8> packed, std::span<u8> unpacked) {
  z_stream stream{};
  stream.next_in = const_cast<u8*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = unpacked.data();
  stream.avail_out = static_cast<uInt>(unpacked.size());
  constexpr int kGzipHeader = 16;
  if (::inflateInit2(&stream, MAX_WBITS + kGzipHeader) != Z_OK) return std::nullopt;
  const int outcome = ::inflate(&stream, Z_FINISH);
  const u64 done = stream.total_out;
  ::inflateEnd(&stream);
  if (outcome != Z_STREAM_END) return std::nullopt;
  return done;
}

std::optional<u64> run_lzma(lzma_stream& stream, lzma_ret initialised, std::span<const u8> packed,
                            std::span<u8> unpacked) {
  if (initialised != LZMA_OK) return std::nullopt;
  stream.next_in = packed.data();
  stream.avail_in = packed.size();
  stream.next_out = unpacked.data();
  stream.avail_out = unpacked.size();
  lzma_ret outcome = LZMA_OK;
  while (outcome == LZMA_OK) outcome = ::lzma_code(&stream, LZMA_FINISH);
  const u64 done = stream.total_out;
  ::lzma_end(&stream);
  if (outcome != LZMA_STREAM_END) return std::nullopt;
  return done;
}

std::optional<u64> unpack_xz(std::span<const u8> packed, std::span<u8> unpacked) {
  lzma_stream stream = LZMA_STREAM_INIT;
  return run_lzma(stream, ::lzma_stream_decoder(&stream, kMemoryLimit, 0), packed, unpacked);
}

std::optional<u64> unpack_lzma(std::span<const u8> packed, std::span<u8> unpacked) {
  lzma_stream stream = LZMA_STREAM_INIT;
  return run_lzma(stream, ::lzma_alone_decoder(&stream, kMemoryLimit), packed, unpacked);
}

std::optional<u64> unpack_bzip2(std::span<const u8> packed, std::span<u8> unpacked) {
  bz_stream stream{};
  if (::BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<char*>(const_cast<u8*>(packed.data()));
  stream.avail_in = static_cast<unsigned>(packed.size());
  stream.next_out = reinterpret_cast<char*>(unpacked.data());
  stream.avail_out = static_cast<unsigned>(unpacked.size());
  // With both buffers whole it makes all the progress there is: only the end of the stream is a success.
  const int outcome = ::BZ2_bzDecompress(&stream);
  const u64 done = unpacked.size() - stream.avail_out;
  ::BZ2_bzDecompressEnd(&stream);
  if (outcome != BZ_STREAM_END) return std::nullopt;
  return done;
}

std::optional<u64> unpack_zstd(std::span<const u8> packed, std::span<u8> unpacked) {
  // The whole frame at once goes straight to its place, where streaming would need a window of up to 128 MiB.
  const std::size_t frame = ::ZSTD_findFrameCompressedSize(packed.data(), packed.size());
  if (::ZSTD_isError(frame)) return std::nullopt;
  const std::size_t done = ::ZSTD_decompress(unpacked.data(), unpacked.size(), packed.data(), frame);
  if (::ZSTD_isError(done)) return std::nullopt;
  return done;
}

// The legacy frame (lz4, doc/lz4_Frame_format.md): a magic number, then blocks of up to 8 MiB, each behind
// its size. No end mark and no sum: the kernel's size word follows the last block.
std::optional<u64> unpack_lz4(std::span<const u8> packed, std::span<u8> unpacked) {
  constexpr u64 kBlockLimit = 8_MiB;
  ByteReader reader(packed.subspan(4));
  u64 done = 0;
  while (done < unpacked.size()) {
    const auto size = reader.take<le32>();
    if (!size) return std::nullopt;
    const auto block = reader.take_bytes(*size);
    if (!block || block->empty() || block->size() > LZ4_COMPRESSBOUND(kBlockLimit)) return std::nullopt;
    const u64 room = std::min(kBlockLimit, unpacked.size() - done);
    const int made = ::LZ4_decompress_safe(reinterpret_cast<const char*>(block->data()),
                                           reinterpret_cast<char*>(unpacked.data() + done),
                                           static_cast<int>(block->size()), static_cast<int>(room));
    if (made <= 0) return std::nullopt;
    done += static_cast<u64>(made);
  }
  return done;
}

// Flags of an lzop file, which has no specification but lzop itself.
constexpr u32 kLzopAdlerOfUnpacked = 0x1, kLzopAdlerOfPacked = 0x2;
constexpr u32 kLzopCrcOfUnpacked = 0x100, kLzopCrcOfPacked = 0x200;
constexpr u32 kLzopExtraField = 0x40, kLzopFilter = 0x800;

// Consumes the header and returns its flags. All numbers are big-endian.
std::optional<u32> take_lzop_header(ByteReader& reader) {
  const auto version = reader.take_big_endian<u16>();
  if (!version) return std::nullopt;
  const bool extended = *version >= 0x0940;
  reader.skip(extended ? 4 : 2);  // the library's version, the version needed to unpack
  reader.skip(extended ? 2 : 1);  // method, level
  const auto flags = reader.take_big_endian<u32>();
  if (!flags || (*flags & kLzopFilter) != 0) return std::nullopt;
  reader.skip(extended ? 12 : 8);  // mode, modification time
  const auto name_bytes = reader.take<u8>();
  if (!name_bytes) return std::nullopt;
  reader.skip(*name_bytes);
  reader.skip(4);  // the header's sum
  if ((*flags & kLzopExtraField) != 0) {
    const auto extra_bytes = reader.take_big_endian<u32>();
    if (!extra_bytes) return std::nullopt;
    reader.skip(*extra_bytes);
    reader.skip(4);
  }
  return flags;
}

std::optional<u64> unpack_lzo(std::span<const u8> packed, std::span<u8> unpacked) {
  ByteReader reader(packed.subspan(9));
  const auto flags = take_lzop_header(reader);
  if (!flags) return std::nullopt;
  u64 done = 0;
  while (true) {
    const auto block_unpacked = reader.take_big_endian<u32>();
    if (!block_unpacked) return std::nullopt;
    if (*block_unpacked == 0) return done;
    const auto block_packed = reader.take_big_endian<u32>();
    if (!block_packed || *block_packed > *block_unpacked || *block_unpacked > unpacked.size() - done)
      return std::nullopt;
    // Sums are left unread, as the kernel's own unpacker does.
    const bool stored = *block_packed == *block_unpacked;
    if ((*flags & kLzopAdlerOfUnpacked) != 0) reader.skip(4);
    if ((*flags & kLzopCrcOfUnpacked) != 0) reader.skip(4);
    if ((*flags & kLzopAdlerOfPacked) != 0 && !stored) reader.skip(4);
    if ((*flags & kLzopCrcOfPacked) != 0 && !stored) reader.skip(4);
    const auto block = reader.take_bytes(*block_packed);
    if (!block) return std::nullopt;
    u8* const target = unpacked.data() + done;
    lzo_uint made = *block_unpacked;
    if (stored) {
      std::ranges::copy(*block, target);
    } else if (::lzo1x_decompress_safe(block->data(), block->size(), target, &made, nullptr) != LZO_E_OK) {
      return std::nullopt;
    }
    if (made != *block_unpacked) return std::nullopt;
    done += made;
  }
}

struct Compression {
  std::string_view name;
  std::string_view magic;
  Unpacker unpack;
};

constexpr Compression kCompressions[] = {
    {"gzip", "\x1f\x8b"sv, unpack_gzip},          {"xz", "\xfd\x37zXZ\0"sv, unpack_xz},
    {"lzma", "\x5d\0\0"sv, unpack_lzma},          {"bzip2", "BZh"sv, unpack_bzip2},
    {"zstd", "\x28\xb5\x2f\xfd"sv, unpack_zstd},  {"lz4", "\x02\x21\x4c\x18"sv, unpack_lz4},
    {"lzo", "\x89LZO\0\r\n\x1a\n"sv, unpack_lzo},
};

const Compression* find_compression(std::span<const u8> packed) {
  const std::string_view text(reinterpret_cast<const char*>(packed.data()), packed.size());
  const auto* const found = std::ranges::find_if(
      kCompressions, [&](const Compression& compression) { return text.starts_with(compression.magic); });
  return found == std::end(kCompressions) ? nullptr : found;
}

}  // namespace

bool is_compressed(std::span<const u8> packed) {
  return find_compression(packed) != nullptr;
}

Result<void> decompress(std::span<const u8> packed, std::span<u8> unpacked) {
  const Compression* const compression = find_compression(packed);
  if (!compression) return fail(ErrorKind::kBadData, "its compression is unknown");
  constexpr u64 kLimit = 1_GiB;  // zlib and bzip2 count in 32 bits
  if (packed.size() > kLimit || unpacked.size() > kLimit)
    return fail(ErrorKind::kBadData, "its {} stream is too large", compression->name);
  const auto done = compression->unpack(packed, unpacked);
  if (!done)
    return fail(ErrorKind::kBadData, "its {} stream is damaged, or longer than the {} bytes it claims",
                compression->name, unpacked.size());
  if (*done != unpacked.size())
    return fail(ErrorKind::kBadData, "its {} stream yields {} bytes where it claims {}", compression->name,
                *done, unpacked.size());
  return {};
}

}  // namespace uvmm
