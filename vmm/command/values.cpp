// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/values.h"

#include <array>
#include <charconv>

#include <fmt/core.h>

#include "vmm/command/failure.h"

namespace uvmm::command {
namespace {

constexpr std::string_view kUnits = "KMGT";  // each 1024 times the one before

constexpr std::array<std::string_view, 4> kLevels = {"error", "warning", "info", "debug"};
constexpr std::array<std::string_view, 2> kFormats = {"text", "json"};

template <typename Enum, std::size_t N>
Complaint parse_choice(std::string_view text, const std::array<std::string_view, N>& names, Enum& value) {
  std::string list;
  for (std::size_t i = 0; i < N; ++i) {
    if (text == names[i]) {
      value = static_cast<Enum>(i);
      return {};
    }
    list += fmt::format("{}{}", i == 0 ? "" : i + 1 == N ? " or " : ", ", names[i]);
  }
  return "is not " + list;
}

}  // namespace

std::string toml_string(std::string_view text) {
  std::string quoted = "\"";
  for (const char byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if (byte == '"' || byte == '\\') {
      quoted += '\\';
      quoted += byte;
    } else if (code < 0x20 || code == 0x7f) {
      quoted += fmt::format("\\u{:04x}", code);
    } else {
      quoted += byte;
    }
  }
  return quoted + '"';
}

Complaint parse_number(std::string_view text, std::uint64_t most, std::uint64_t& value) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc::result_out_of_range) return fmt::format("is more than {}", most);
  if (error != std::errc{} || stopped != end) return "is not a number";
  if (number > most) return fmt::format("is more than {}", most);
  value = number;
  return {};
}

Complaint Size::parse(std::string_view text, std::uint64_t& value) {
  unsigned shift = 0;
  std::string_view digits = text;
  if (const std::size_t unit = text.empty() ? kUnits.npos : kUnits.find(text.back()); unit != kUnits.npos) {
    shift = 10 * (static_cast<unsigned>(unit) + 1);
    digits.remove_suffix(1);
  }
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t number = 0;
  const Complaint complaint = parse_number(digits, kMost, number);
  if (complaint == "is not a number") return "is not a size such as 512M or 1G";
  if (!complaint.empty() || number > kMost >> shift) return "is more than any machine has";
  value = number << shift;
  return {};
}

std::string Size::print(std::uint64_t value) {
  std::size_t units = 0;
  while (value != 0 && value % 1024 == 0 && units < kUnits.size()) {
    value /= 1024;
    ++units;
  }
  return units == 0 ? fmt::format("\"{}\"", value) : fmt::format("\"{}{}\"", value, kUnits[units - 1]);
}

std::string Count::print(std::uint64_t value) {
  return fmt::format("{}", value);
}

Complaint Flag::parse(std::string_view text, bool& value) {
  if (text != "on" && text != "off") return "is not on or off";
  value = text == "on";
  return {};
}

Complaint FlagOrAuto::parse(std::string_view text, std::optional<bool>& value) {
  if (text == "auto") {
    value.reset();
    return {};
  }
  bool flag = false;
  if (!Flag::parse(text, flag).empty()) return "is not on, off or auto";
  value = flag;
  return {};
}

Complaint Level::parse(std::string_view text, LogLevel& value) {
  return parse_choice(text, kLevels, value);
}

std::string Level::print(LogLevel value) {
  return toml_string(kLevels[static_cast<std::size_t>(value)]);
}

Complaint Format::parse(std::string_view text, LogFormat& value) {
  return parse_choice(text, kFormats, value);
}

std::string Format::print(LogFormat value) {
  return toml_string(kFormats[static_cast<std::size_t>(value)]);
}

Complaint Console::parse(std::string_view text, ConsoleChoice& value) {
  using Kind = ConsoleChoice::Kind;
  const std::size_t equals = text.find('=');
  const std::string_view kind = text.substr(0, equals);
  if (kind == "file" || kind == "unix") {
    if (equals == text.npos || equals + 1 == text.size()) return fmt::format("lacks the path: {}=PATH", kind);
    value = {.kind = kind == "file" ? Kind::kFile : Kind::kUnix,
             .path = std::string(text.substr(equals + 1))};
    return {};
  }
  if (text == "auto") {
    value = {.kind = Kind::kAuto};
  } else if (text == "tty") {
    value = {.kind = Kind::kTty};
  } else if (text == "off") {
    value = {.kind = Kind::kOff};
  } else {
    return "is not tty, file=PATH, unix=PATH, off or auto";
  }
  return {};
}

std::string Console::print(const ConsoleChoice& value) {
  switch (value.kind) {
    case ConsoleChoice::Kind::kAuto:
      return toml_string("auto");
    case ConsoleChoice::Kind::kTty:
      return toml_string("tty");
    case ConsoleChoice::Kind::kFile:
      return toml_string("file=" + value.path);
    case ConsoleChoice::Kind::kUnix:
      return toml_string("unix=" + value.path);
    case ConsoleChoice::Kind::kOff:
      break;
  }
  return toml_string("off");
}

Complaint Times::parse(std::string_view text, std::uint8_t& value) {
  bool given = false;
  Complaint complaint = Flag::parse(text, given);
  if (given && value < std::numeric_limits<std::uint8_t>::max()) ++value;
  return complaint;
}

}  // namespace uvmm::command
