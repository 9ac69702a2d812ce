// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/listen_fds.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "vmm/command/values.h"

namespace uvmm::control {
namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
constexpr std::uint64_t kMost = 1024;

std::uint64_t number_of(const char* variable) {
  const char* const text = std::getenv(variable);
  std::uint64_t number = 0;
  if (text) command::parse_number(text, std::uint64_t{1} << 31, number);
  return number;
}

}  // namespace

std::optional<int> passed_fd(std::string_view name) {
  if (number_of("LISTEN_PID") != static_cast<std::uint64_t>(::getpid())) return std::nullopt;
  const std::uint64_t count = number_of("LISTEN_FDS");
  const char* const names = std::getenv("LISTEN_FDNAMES");
  if (!names || count > kMost) return std::nullopt;
  std::string_view rest = names;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::size_t end = rest.find(':');
    if (rest.substr(0, end) == name) return kFirst + static_cast<int>(i);
    if (end == rest.npos) break;
    rest.remove_prefix(end + 1);
  }
  return std::nullopt;
}

}  // namespace uvmm::control
