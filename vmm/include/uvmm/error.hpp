// SPDX-License-Identifier: Apache-2.0
// Error: why the host refused, as plain data. Any thread; no lifetime beyond its strings.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace uvmm {

// What kind of refusal it is. The values are the process exit statuses of the `uvmm` command, which follow
// sysexits(3) where it has a fitting one.
enum class ErrorKind : int {
  kUsage = 64,         // the command line does not parse
  kBadData = 65,       // a configuration value or an image's content
  kNoInput = 66,       // a file that is not there
  kUnavailable = 69,   // KVM or a kernel feature is missing
  kHost = 71,          // any other refusal of the host
  kCannotCreate = 73,  // a file or socket cannot be created
  kBusy = 75,          // a disk is locked, a socket is taken
  kPermission = 77,
};

struct Error {
  ErrorKind kind = ErrorKind::kHost;
  std::string message;  // "cannot open /dev/kvm: Permission denied": what was tried, then why it failed
  std::string hint;     // what the user can do about it; may be empty
};

template <typename T = void>
using Result = std::expected<T, Error>;

}  // namespace uvmm
