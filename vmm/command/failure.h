// SPDX-License-Identifier: Apache-2.0
// Making an Error (uvmm/error.hpp) and quoting hostile text in one. Any thread.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include <uvmm/error.hpp>

namespace uvmm::command {

template <typename... Args>
std::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{kind, fmt::vformat(format, fmt::make_format_args(args...)), {}});
}

inline std::unexpected<Error> with_hint(std::unexpected<Error> failure, std::string hint) {
  failure.error().hint = std::move(hint);
  return failure;
}

// `text` as a person may read it in a message: without control characters, and cut when it is long.
std::string quote(std::string_view text);

// How many insertions, deletions, replacements and swaps of neighbours lead from `from` to `to`.
std::size_t edit_distance(std::string_view from, std::string_view to);

// The text of errno value `error`.
std::string error_text(int error);

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

// One of `known` (any range of string views) that `text` is probably a misspelling of, or nothing.
std::string_view nearest(std::string_view text, const auto& known) {
  std::string_view best;
  std::size_t best_distance = text.size() / 3 + 2;  // further away it is another word
  for (const std::string_view candidate : known) {
    const std::size_t distance = edit_distance(text, candidate);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

}  // namespace uvmm::command
