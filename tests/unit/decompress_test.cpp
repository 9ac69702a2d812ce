// SPDX-License-Identifier: Apache-2.0
#include "boot/decompress.h"

#include <catch2/catch.hpp>

#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/bzimage_builder.h"
#include "tests/fakes/skip.h"

using namespace uvmm;

namespace {

struct Compressor {
  std::string name;
  std::string
      command;  // from standard input to standard output, as Linux's scripts/Makefile.lib has it but faster
};

const std::vector<Compressor> kCompressors = {
    {"gzip", "gzip -n -f -1"}, {"xz", "xz --check=crc32 --x86 --lzma2=preset=0"},
    {"lzma", "lzma -0"},       {"bzip2", "bzip2 -1"},
    {"zstd", "zstd -q -1"},    {"lz4", "lz4 -l -1 -c -z - -"},
    {"lzo", "lzop -1"},
};

// Nothing where this machine lacks the program.
std::optional<std::vector<u8>> compress(const Compressor& compressor, std::span<const u8> content) {
  const std::string program = compressor.command.substr(0, compressor.command.find(' '));
  if (!has_command(program)) skip("no program " + program);
  const TemporaryDirectory directory;
  const std::string plain = directory.file("plain", content);
  REQUIRE(run(compressor.command + " <" + plain + " >" + directory.path("packed") + " 2>/dev/null") == 0);
  return read_file(directory.path("packed"));
}

std::vector<u8> with_size(std::vector<u8> packed, u32 size) {
  const auto* const bytes = reinterpret_cast<const u8*>(&size);
  packed.insert(packed.end(), bytes, bytes + sizeof(size));
  return packed;
}

std::string refusal(std::span<const u8> packed, u64 size) {
  std::vector<u8> unpacked(size);
  const auto outcome = decompress(packed, unpacked);
  return outcome ? "unpacked" : outcome.error().message;
}

}  // namespace

TEST_CASE("decompress: every compression of a kernel, its size behind it") {
  const auto content = pattern(9'000'000);  // several blocks of each format
  for (const Compressor& compressor : kCompressors) {
    INFO(compressor.name);
    const auto packed = compress(compressor, content);
    if (!packed) continue;
    CHECK(is_compressed(*packed));
    std::vector<u8> unpacked(content.size());
    const auto outcome = decompress(with_size(*packed, 9'000'000), unpacked);
    INFO((outcome ? "" : outcome.error().message));
    REQUIRE(outcome);
    CHECK(unpacked == content);
  }
}

TEST_CASE("decompress: incompressible content") {
  std::vector<u8> content(300'000);
  u32 state = 1;
  for (u8& byte : content) byte = static_cast<u8>((state = state * 1664525 + 1013904223) >> 24);
  for (const Compressor& compressor : kCompressors) {
    INFO(compressor.name);
    const auto packed = compress(compressor, content);
    if (!packed) continue;
    std::vector<u8> unpacked(content.size());
    CHECK(decompress(with_size(*packed, 300'000), unpacked));
    CHECK(unpacked == content);
  }
}

TEST_CASE("decompress: a stream that holds more than it claims is refused") {
  for (const Compressor& compressor : kCompressors) {
    // The lz4 legacy frame has no end: what is behind the last block that was asked for is not looked at.
    if (compressor.name == "lz4") continue;
    INFO(compressor.name);
    const auto packed = compress(compressor, pattern(100'000));
    if (packed) CHECK_THAT(refusal(with_size(*packed, 99'999), 99'999), Catch::Contains("longer than"));
  }
}

TEST_CASE("decompress: a stream that holds less than it claims is refused") {
  for (const Compressor& compressor : kCompressors) {
    INFO(compressor.name);
    const auto packed = compress(compressor, pattern(100'000));
    if (packed) CHECK_THAT(refusal(with_size(*packed, 100'001), 100'001), Catch::Contains(" it claims"));
  }
}

TEST_CASE("decompress: a stream cut anywhere is refused") {
  for (const Compressor& compressor : kCompressors) {
    INFO(compressor.name);
    const auto packed = compress(compressor, pattern(600));
    if (!packed) continue;
    std::vector<u8> unpacked(600);
    // bzip2 and the like may have all content before their last bytes, which are sums and ends.
    const u64 content_bytes = compressor.name == "lz4" ? packed->size() : packed->size() - 3;
    for (u64 size = 0; size < content_bytes; ++size)
      if (decompress(std::span(*packed).first(size), unpacked))
        FAIL_CHECK("unpacked from " << size << " bytes");
  }
}

TEST_CASE("decompress: a stream with any byte changed does no harm") {
  for (const Compressor& compressor : kCompressors) {
    INFO(compressor.name);
    auto packed = compress(compressor, pattern(600));
    if (!packed) continue;
    std::vector<u8> unpacked(600);
    for (u8& byte : *packed) {
      for (const u8 flip : {0x01, 0xff}) {
        byte ^= flip;
        (void)decompress(*packed, unpacked);
        byte ^= flip;
      }
    }
  }
}

TEST_CASE("decompress: an xz stream that wants 1 GiB for its dictionary is refused") {
  const auto packed = compress({"xz", "xz --check=crc32 --lzma2=dict=1GiB -T1"}, pattern(1000));
  if (packed) CHECK_THAT(refusal(*packed, 1000), Catch::Contains("xz stream"));
}

TEST_CASE("decompress: an unknown compression is refused") {
  CHECK_FALSE(is_compressed({}));
  CHECK_THAT(refusal(pattern(100), 100), Catch::Contains("unknown"));
  CHECK_THAT(refusal({}, 100), Catch::Contains("unknown"));
}
