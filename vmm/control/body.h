// SPDX-License-Identifier: Apache-2.0
// Body: a request's JSON object, whose members are all known and of their type, or the response that says
// what is wrong with it. Plain data.
#pragma once

#include <expected>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "vmm/control/http.h"

namespace uvmm::control {

template <typename T>
using Checked = std::expected<T, Response>;

class Body {
 public:
  // An empty text is an empty object. `members` are all that it may have.
  static Checked<Body> parse(std::string_view text, std::initializer_list<std::string_view> members);

  bool has(std::string_view member) const { return object_.contains(member); }
  // The index of the member's value among `choices`; `absent` if the member is not there. Without `absent`
  // it must be.
  Checked<std::size_t> choice(std::string_view member, std::span<const std::string_view> choices,
                              std::optional<std::size_t> absent = {}) const;
  Checked<bool> boolean(std::string_view member) const;
  // A number of seconds, or nothing if it is not there.
  Checked<std::optional<double>> seconds(std::string_view member, double most) const;
  // Bytes: a number, or a size such as "512M".
  Checked<std::uint64_t> size(std::string_view member) const;

 private:
  explicit Body(nlohmann::json object) : object_(std::move(object)) {}
  nlohmann::json object_;
};

}  // namespace uvmm::control
