// SPDX-License-Identifier: Apache-2.0
#include "boot/bzimage.h"

#include <catch2/catch.hpp>

#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/bzimage_builder.h"

using namespace uvmm;

namespace {

const std::vector<u8> kPayload = pattern(1000);

Result<BzImage> parse(const std::vector<u8>& image, u64 ram = 64_MiB) {
  return parse_bzimage(std::span(image).first(std::min<u64>(image.size(), kBzImageHeadBytes)), image.size(),
                       ram);
}

std::string refusal(const std::vector<u8>& image, u64 ram = 64_MiB) {
  const auto parsed = parse(image, ram);
  return parsed ? "accepted" : parsed.error().message;
}

}  // namespace

TEST_CASE("bzimage: the payload is found behind the setup sectors") {
  auto image = make_bzimage(kPayload, 5000);
  REQUIRE(looks_like_bzimage(image));
  const auto parsed = parse(image);
  REQUIRE(parsed);
  CHECK(parsed->payload_bytes == 1004);
  CHECK(std::equal(kPayload.begin(), kPayload.end(), image.begin() + i64(parsed->payload_offset)));
}

TEST_CASE("bzimage: [case 150] no setup sectors mean four") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).setup_sects = 0;
  const auto parsed = parse(image);
  REQUIRE(parsed);
  CHECK(parsed->payload_offset == 5 * 512 + 0x300);
}

TEST_CASE("bzimage: fields that the header's version lacks are zero") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).jump = 0x62eb;  // 0x202 + 0x62 is the offset of handover_offset
  header_in(image).version = 0x020c;
  header_in(image).handover_offset = 0x1234;
  header_in(image).kernel_info_offset = 0x1234;
  const auto parsed = parse(image);
  REQUIRE(parsed);
  CHECK(parsed->header.init_size == 4_MiB);
  CHECK(parsed->header.handover_offset == 0);
  CHECK(parsed->header.kernel_info_offset == 0);
}

TEST_CASE("bzimage: [case 150] setup sectors past the end of the file are refused") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).setup_sects = 255;
  CHECK_THAT(refusal(image), Catch::Contains("255 setup sectors"));
}

TEST_CASE("bzimage: [case 150] a wrong magic number is refused") {
  auto image = make_bzimage(kPayload, 5000);
  SECTION("HdrS") {
    header_in(image).header = 0x53726449;
    CHECK_FALSE(looks_like_bzimage(image));
  }
  SECTION("boot flag") {
    header_in(image).boot_flag = 0x55AA;
  }
  CHECK_THAT(refusal(image), Catch::Contains("no boot flag"));
}

TEST_CASE("bzimage: [case 150] an old version is refused") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).version = 0x0207;
  CHECK_THAT(refusal(image), Catch::Contains("boot protocol 2.7"));
}

TEST_CASE("bzimage: a header too short for its version is refused") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).jump = GENERATE(0x00eb, 0x61eb);
  CHECK_THAT(refusal(image), Catch::Contains("too short"));
}

TEST_CASE("bzimage: a 32-bit kernel is refused") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).xloadflags = 0;
  CHECK_THAT(refusal(image), Catch::Contains("32-bit"));
}

TEST_CASE("bzimage: [case 150] a payload beyond the file is refused") {
  auto image = make_bzimage(kPayload, 5000);
  setup_header& header = header_in(image);
  SECTION("one byte too long") {
    header.payload_length = static_cast<u32>(image.size() - 5 * 512 - 0x300 + 1);
  }
  SECTION("as long as can be") {
    header.payload_length = 0xffff'ffff;
  }
  SECTION("as far as can be") {
    header.payload_offset = 0xffff'ffff;
  }
  CHECK_THAT(refusal(image), Catch::Contains("beyond the file"));
}

TEST_CASE("bzimage: no payload is refused") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).payload_length = GENERATE(0u, 4u);
  CHECK_THAT(refusal(image), Catch::Contains("no payload"));
}

TEST_CASE("bzimage: a file that ends within the header is refused") {
  auto image = make_bzimage(kPayload, 5000);
  image.resize(kBzImageHeadBytes - 1);
  CHECK_THAT(refusal(image), Catch::Contains("ends within its header"));
}

TEST_CASE("bzimage: [case 151] a kernel that needs more memory than there is is refused") {
  auto image = make_bzimage(kPayload, 5000);
  SECTION("exactly as much is enough") {
    CHECK(refusal(image, 20_MiB) == "accepted");
  }
  SECTION("one byte less is not") {
    CHECK_THAT(refusal(image, 20_MiB - 1), Catch::Contains("of memory at 0x1000000"));
  }
  SECTION("init_size") {
    header_in(image).init_size = 0xffff'ffff;
    CHECK_THAT(refusal(image), Catch::Contains("0xffffffff bytes"));
  }
  SECTION("pref_address whose sum with init_size overflows") {
    header_in(image).pref_address = 0 - 2_MiB;
    CHECK_THAT(refusal(image), Catch::Contains("of memory at"));
  }
}

TEST_CASE("bzimage: [case 151] an impossible alignment is refused") {
  auto image = make_bzimage(kPayload, 5000);
  SECTION("none") {
    header_in(image).kernel_alignment = 0;
  }
  SECTION("not a power of two") {
    header_in(image).kernel_alignment = 3_MiB;
  }
  SECTION("more than the address has") {
    header_in(image).kernel_alignment = 0x8000'0000;
  }
  CHECK_THAT(refusal(image), Catch::Contains("aligned"));
}

TEST_CASE("bzimage: [case 151] a preferred address below 1 MiB is refused") {
  auto image = make_bzimage(kPayload, 5000);
  header_in(image).pref_address = 0;
  CHECK_THAT(refusal(image), Catch::Contains("below 1 MiB"));
}
