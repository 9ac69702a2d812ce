// SPDX-License-Identifier: Apache-2.0
#include "boot/credentials.h"

#include <catch2/catch.hpp>

#include "tests/fakes/boot_fixture.h"

using namespace uvmm;

namespace {

std::string string_of(std::string_view value) {
  const TemporaryDirectory directory;
  const std::vector<CredentialConfig> credentials = {{.id = "id", .path = directory.file("f", value)}};
  return read_credentials(credentials).value().at(0);
}

}  // namespace

TEST_CASE("credentials: any value becomes the string that systemd looks for") {
  // The examples of RFC 4648, section 10.
  CHECK(string_of("f") == "io.systemd.credential.binary:id=Zg==");
  CHECK(string_of("fo") == "io.systemd.credential.binary:id=Zm8=");
  CHECK(string_of("foo") == "io.systemd.credential.binary:id=Zm9v");
  CHECK(string_of("foobar") == "io.systemd.credential.binary:id=Zm9vYmFy");
  CHECK(string_of("\xff\xfe\xfd") == "io.systemd.credential.binary:id=//79");
}

TEST_CASE("credentials: a file that is missing or too large is refused by name") {
  const TemporaryDirectory directory;
  const std::vector<CredentialConfig> missing = {{.id = "id", .path = directory.path("none")}};
  const auto refused = read_credentials(missing);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::kNoInput);
  const std::vector<CredentialConfig> large = {{.id = "id", .path = directory.sparse_file("f", 64_KiB + 1)}};
  REQUIRE_FALSE(read_credentials(large));
  CHECK(read_credentials(large).error().message.find("larger than 64K") != std::string::npos);
}
