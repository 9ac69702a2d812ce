// SPDX-License-Identifier: Apache-2.0
#include "boot/credentials.h"

#include "boot/input_file.h"
#include "vmm/base/size_text.h"

namespace uvmm {
namespace {

constexpr u64 kMostBytes = 64_KiB;

// RFC 4648, section 4.
std::string base64(std::span<const u8> bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t at) -> u32 { return at < bytes.size() ? bytes[at] : 0; };
    const u32 group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    text += kAlphabet[group >> 18];
    text += kAlphabet[group >> 12 & 63];
    text += i + 1 < bytes.size() ? kAlphabet[group >> 6 & 63] : '=';
    text += i + 2 < bytes.size() ? kAlphabet[group & 63] : '=';
  }
  return text;
}

Result<std::string> read_credential(const CredentialConfig& credential) {
  const InputFile file = UVMM_TRY(open_input_file("credential", credential.path));
  if (file.bytes() > kMostBytes) {
    return fail(ErrorKind::kBadData, "credential {}: {} is larger than {}", credential.id, credential.path,
                size_text(kMostBytes));
  }
  std::vector<u8> value(file.bytes());
  if (const int error = read_exactly(file.fd.get(), value, 0); error != 0)
    return fail(ErrorKind::kHost, "cannot read credential {}: {}", credential.path, read_error_text(error));
  return "io.systemd.credential.binary:" + credential.id + "=" + base64(value);
}

}  // namespace

Result<std::vector<std::string>> read_credentials(std::span<const CredentialConfig> credentials) {
  std::vector<std::string> strings;
  for (const CredentialConfig& credential : credentials)
    strings.push_back(UVMM_TRY(read_credential(credential)));
  return strings;
}

}  // namespace uvmm
