// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/body.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "vmm/command/failure.h"
#include "vmm/command/values.h"

namespace uvmm::control {
namespace {

using nlohmann::json;

constexpr std::size_t kMostDepth = 8;  // of what is in one another; no body has more than one level

std::unexpected<Response> refuse(std::string_view member, std::string_view detail,
                                 std::string_view hint = {}) {
  return std::unexpected(problem(400, detail, hint, member));
}

std::string list_of(std::span<const std::string_view> names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

bool is_too_deep(std::string_view text) {
  std::size_t depth = 0;
  for (const char byte : text) {
    if ((byte == '[' || byte == '{') && ++depth > kMostDepth) return true;
    if ((byte == ']' || byte == '}') && depth > 0) --depth;
  }
  return false;
}

}  // namespace

Checked<Body> Body::parse(std::string_view text, std::initializer_list<std::string_view> members) {
  if (text.empty()) return Body(json::object());
  json object = is_too_deep(text) ? json() : json::parse(text, nullptr, false);
  if (!object.is_object())
    return std::unexpected(problem(400, "the body is no JSON object", "such as {\"state\": \"paused\"}"));
  for (const auto& [name, value] : object.items()) {
    if (std::ranges::find(members, name) != members.end()) continue;
    const std::string_view guess = command::nearest(name, members);
    return refuse(command::quote(name), fmt::format("there is no member \"{}\"", command::quote(name)),
                  guess.empty()
                      ? fmt::format("the members are {}", list_of({members.begin(), members.size()}))
                      : fmt::format("did you mean {}?", guess));
  }
  return Body(std::move(object));
}

Checked<std::size_t> Body::choice(std::string_view member, std::span<const std::string_view> choices,
                                  std::optional<std::size_t> absent) const {
  const auto found = object_.find(member);
  if (found == object_.end() && absent) return *absent;
  if (found != object_.end() && found->is_string()) {
    const std::string& text = found->get_ref<const std::string&>();
    const auto at = std::ranges::find(choices, text);
    if (at != choices.end()) return static_cast<std::size_t>(at - choices.begin());
  }
  return refuse(member, fmt::format("\"{}\" is none of {}", member, list_of(choices)));
}

Checked<bool> Body::boolean(std::string_view member) const {
  const auto found = object_.find(member);
  if (found != object_.end() && found->is_boolean()) return found->get<bool>();
  return refuse(member, fmt::format("\"{}\" is neither true nor false", member));
}

Checked<std::optional<double>> Body::seconds(std::string_view member, double most) const {
  const auto found = object_.find(member);
  if (found == object_.end()) return std::nullopt;
  const double value = found->is_number() ? found->get<double>() : -1;
  if (value >= 0 && value <= most) return value;
  return refuse(member, fmt::format("\"{}\" is no number from 0 to {}", member, most));
}

Checked<std::uint64_t> Body::size(std::string_view member) const {
  const auto found = object_.find(member);
  if (found != object_.end() && found->is_number_unsigned()) return found->get<std::uint64_t>();
  std::uint64_t bytes = 0;
  if (found != object_.end() && found->is_string() &&
      command::Size::parse(found->get_ref<const std::string&>(), bytes).empty())
    return bytes;
  return refuse(member, fmt::format("\"{}\" is no size", member), "a number of bytes, or such as \"512M\"");
}

}  // namespace uvmm::control
