// SPDX-License-Identifier: Apache-2.0
// The kinds of value that options take: each turns text into a value and a value into TOML. Pure functions.
//
// parse() returns why the text does not fit, or nothing; it then leaves the value alone.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/command/settings.h"

namespace uvmm::command {

// What a configuration file may write for a value, beside a string. kStrings is a list of them, each a value
// that is added to those before.
enum class FileType : std::uint8_t { kString, kInteger, kBoolean, kStrings };

using Complaint = std::string;  // empty: none

std::string toml_string(std::string_view text);

// "512M", "1G", "4096": powers of 1024.
struct Size {
  static constexpr FileType kFileType = FileType::kInteger;
  static Complaint parse(std::string_view text, std::uint64_t& value);
  static std::string print(std::uint64_t value);
};

// A decimal number up to `most`. Nothing is cut off or wrapped.
Complaint parse_number(std::string_view text, std::uint64_t most, std::uint64_t& value);

struct Count {
  static constexpr FileType kFileType = FileType::kInteger;
  template <typename Number>
  static Complaint parse(std::string_view text, Number& value) {
    std::uint64_t number = 0;
    Complaint complaint = parse_number(text, std::numeric_limits<Number>::max(), number);
    if (complaint.empty()) value = static_cast<Number>(number);
    return complaint;
  }
  static std::string print(std::uint64_t value);
};

// A count of at least 1, or `auto`, which is kept as 0.
struct CountOrAuto {
  static constexpr FileType kFileType = FileType::kInteger;
  template <typename Number>
  static Complaint parse(std::string_view text, Number& value) {
    if (text == "auto") {
      value = 0;
      return {};
    }
    if (text == "0") return "is less than 1";
    return Count::parse(text, value);
  }
  static std::string print(std::uint64_t value) { return value == 0 ? "\"auto\"" : Count::print(value); }
};

// `on` or `off`; on the command line also the key alone, or `no-` and the key.
struct Flag {
  static constexpr FileType kFileType = FileType::kBoolean;
  static Complaint parse(std::string_view text, bool& value);
  static std::string print(bool value) { return value ? "true" : "false"; }
};

struct FlagOrAuto {
  static constexpr FileType kFileType = FileType::kBoolean;
  static Complaint parse(std::string_view text, std::optional<bool>& value);
  static std::string print(std::optional<bool> value) { return value ? Flag::print(*value) : "\"auto\""; }
};

// A user's or group's number, or `auto`.
struct Id {
  static constexpr FileType kFileType = FileType::kInteger;
  static Complaint parse(std::string_view text, std::optional<std::uint32_t>& value);
  static std::string print(std::optional<std::uint32_t> value) {
    return value ? Count::print(*value) : "\"auto\"";
  }
};

struct Text {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, std::string& value) {
    value = text;
    return {};
  }
  static std::string print(const std::string& value) { return toml_string(value); }
};

struct Level {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, LogLevel& value);
  static std::string print(LogLevel value);
};

struct Cache {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, ShareConfig::Cache& value);
  static std::string print(ShareConfig::Cache value);
};

struct Format {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, LogFormat& value);
  static std::string print(LogFormat value);
};

// toml | json, or nothing for toml
struct PrintFormat {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, ConfigFormat& value);
  static std::string print(ConfigFormat value);
};

// auto | tty | file=PATH | unix=PATH | off
struct Console {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, ConsoleChoice& value);
  static std::string print(const ConsoleChoice& value);
};

// off | auto | PATH | fd=N | fd=NAME, the name of a descriptor that the service manager passes on
struct Control {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, ControlChoice& value);
  static std::string print(const ControlChoice& value);
};

// SIZE | off
struct BalloonSize {
  static constexpr FileType kFileType = FileType::kInteger;
  static Complaint parse(std::string_view text, BalloonConfig& value);
  static std::string print(const BalloonConfig& value);
};

// user | tap=NAME | fd=N[:N...] | socket=N
struct NetKind {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, NetConfig& value);
  static std::string print(const NetConfig& value);
};

// tcp|udp:[ADDRESS]:PORT-[ADDRESS]:PORT, the host's and the guest's; an IPv6 address is in brackets. May be
// given several times.
struct Forwards {
  static constexpr FileType kFileType = FileType::kStrings;
  static Complaint parse(std::string_view text, std::vector<NetForward>& value);
  static std::string print(const std::vector<NetForward>& value);
};

// auto | 52:54:00:12:34:56
struct Mac {
  static constexpr FileType kFileType = FileType::kString;
  using Address = std::array<std::uint8_t, 6>;
  static Complaint parse(std::string_view text, std::optional<Address>& value);
  static std::string print(const std::optional<Address>& value);
};

// ID@FILE
struct Credential {
  static constexpr FileType kFileType = FileType::kString;
  static Complaint parse(std::string_view text, CredentialConfig& value);
  static std::string print(const CredentialConfig& value) { return toml_string(value.id + "@" + value.path); }
};

// Counts how often a switch was given.
struct Times {
  static constexpr FileType kFileType = FileType::kBoolean;
  static Complaint parse(std::string_view text, std::uint8_t& value);
  static std::string print(std::uint8_t value) { return Count::print(value); }
};

}  // namespace uvmm::command
