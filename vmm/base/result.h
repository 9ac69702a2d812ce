// SPDX-License-Identifier: Apache-2.0
// Making and passing on an Error (uvmm/error.hpp). Any thread.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/core.h>

#include <uvmm/error.hpp>

namespace uvmm {

template <typename... Args>
std::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{kind, fmt::format(format, std::forward<Args>(args)...), {}});
}

// fail(...) with the remedy: `return with_hint(fail(...), "add yourself to group kvm")`.
inline std::unexpected<Error> with_hint(std::unexpected<Error> failure, std::string hint) {
  failure.error().hint = std::move(hint);
  return failure;
}

// The text of errno value `error`: "Permission denied". strerror's table is constant for these.
inline std::string error_text(int error) {
  return ::strerrordesc_np(error) ? ::strerrordesc_np(error) : fmt::format("error {}", error);
}

// The kind that errno value `error` stands for when a file that ought to exist is opened.
constexpr ErrorKind kind_of_open_error(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return ErrorKind::kNoInput;
    case EACCES:
    case EPERM:
      return ErrorKind::kPermission;
    case EBUSY:
    case EAGAIN:
      return ErrorKind::kBusy;
    default:
      return ErrorKind::kHost;
  }
}

}  // namespace uvmm

// The value of a Result, or return its error from the function. Not in coroutines (g++ 12 crashes on it
// there).
#define UVMM_TRY(expression)                                                          \
  ({                                                                                  \
    auto uvmm_try_result = (expression);                                              \
    if (!uvmm_try_result) return std::unexpected(std::move(uvmm_try_result.error())); \
    std::move(*uvmm_try_result);                                                      \
  })

// The same for Result<void>.
#define UVMM_CHECK(expression)                                                            \
  do {                                                                                    \
    auto uvmm_check_result = (expression);                                                \
    if (!uvmm_check_result) return std::unexpected(std::move(uvmm_check_result.error())); \
  } while (false)
