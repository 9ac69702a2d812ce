// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/values.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

#include "vmm/command/failure.h"

namespace uvmm::command {
namespace {

constexpr std::string_view kUnits = "KMGT";  // each 1024 times the one before

constexpr std::array<std::string_view, 4> kLevels = {"error", "warning", "info", "debug"};
constexpr std::array<std::string_view, 2> kFormats = {"text", "json"};
constexpr std::array<std::string_view, 3> kCaches = {"auto", "always", "never"};

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

Complaint Id::parse(std::string_view text, std::optional<std::uint32_t>& value) {
  if (text == "auto") {
    value.reset();
    return {};
  }
  std::uint32_t number = 0;
  Complaint complaint = Count::parse(text, number);
  if (complaint.empty()) value = number;
  return complaint;
}

Complaint Cache::parse(std::string_view text, ShareConfig::Cache& value) {
  return parse_choice(text, kCaches, value);
}

std::string Cache::print(ShareConfig::Cache value) {
  return toml_string(kCaches[static_cast<std::size_t>(value)]);
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

Complaint PrintFormat::parse(std::string_view text, ConfigFormat& value) {
  if (!text.empty() && text != "toml" && text != "json") return "is not toml or json";
  value = text == "json" ? ConfigFormat::kJson : ConfigFormat::kToml;
  return {};
}

std::string PrintFormat::print(ConfigFormat value) {
  if (value == ConfigFormat::kNone) return toml_string("");
  return toml_string(value == ConfigFormat::kJson ? "json" : "toml");
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

Complaint Control::parse(std::string_view text, ControlChoice& value) {
  using Kind = ControlChoice::Kind;
  if (text.empty()) return "is no path";
  if (text == "off" || text == "auto") {
    value = {.kind = text == "off" ? Kind::kOff : Kind::kAuto};
    return {};
  }
  if (!text.starts_with("fd=")) {
    value = {.kind = Kind::kPath, .path = std::string(text)};
    return {};
  }
  const std::string_view name = text.substr(3);
  std::uint64_t number = 0;
  const Complaint complaint = parse_number(name, std::numeric_limits<int>::max(), number);
  if (complaint.empty()) {
    value = {.kind = Kind::kFd, .fd = static_cast<int>(number)};
  } else if (complaint == "is not a number" && !name.empty()) {
    value = {.kind = Kind::kPassed, .path = std::string(name)};
  } else {
    return name.empty() ? "lacks the descriptor: fd=N" : complaint;
  }
  return {};
}

std::string Control::print(const ControlChoice& value) {
  switch (value.kind) {
    case ControlChoice::Kind::kOff:
      return toml_string("off");
    case ControlChoice::Kind::kAuto:
      return toml_string("auto");
    case ControlChoice::Kind::kPath:
      return toml_string(value.path);
    case ControlChoice::Kind::kFd:
      return toml_string(fmt::format("fd={}", value.fd));
    case ControlChoice::Kind::kPassed:
      break;
  }
  return toml_string("fd=" + value.path);
}

Complaint BalloonSize::parse(std::string_view text, BalloonConfig& value) {
  if (text == "off") {
    value.enabled = false;
    return {};
  }
  Complaint complaint = Size::parse(text, value.bytes);
  if (complaint.empty()) value.enabled = true;
  return complaint;
}

std::string BalloonSize::print(const BalloonConfig& value) {
  return value.enabled ? Size::print(value.bytes) : toml_string("off");
}

Complaint NetKind::parse(std::string_view text, NetConfig& value) {
  if (text == "user") {
    value.kind = NetConfig::Kind::kUser;
    return {};
  }
  if (text.starts_with("tap=")) {
    value.kind = NetConfig::Kind::kTap;
    value.tap = text.substr(4);
    return {};
  }
  const bool is_socket = text.starts_with("socket=");
  if (!is_socket && !text.starts_with("fd=")) return "is not user, tap=NAME, fd=N[:N...] or socket=N";
  std::vector<int> fds;
  for (std::string_view rest = text.substr(text.find('=') + 1); fds.empty() || !rest.empty();) {
    const std::size_t colon = rest.find(':');
    std::uint64_t fd = 0;
    if (Complaint complaint = parse_number(rest.substr(0, colon), std::numeric_limits<int>::max(), fd);
        !complaint.empty())
      return complaint;
    fds.push_back(static_cast<int>(fd));
    if (colon == rest.npos) break;
    rest.remove_prefix(colon + 1);
    if (rest.empty()) return "ends with a colon";
  }
  value.kind = is_socket ? NetConfig::Kind::kSocket : NetConfig::Kind::kFds;
  value.fds = std::move(fds);
  return {};
}

std::string NetKind::print(const NetConfig& value) {
  switch (value.kind) {
    case NetConfig::Kind::kUser:
      break;
    case NetConfig::Kind::kTap:
      return toml_string("tap=" + value.tap);
    case NetConfig::Kind::kFds:
      return toml_string(fmt::format("fd={}", fmt::join(value.fds, ":")));
    case NetConfig::Kind::kSocket:
      return toml_string(fmt::format("socket={}", fmt::join(value.fds, ":")));
  }
  return toml_string("user");
}

namespace {

// "[ADDRESS]:PORT", where the brackets are an IPv6 address's own.
bool parse_endpoint(std::string_view text, std::string& address, std::uint16_t& port) {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return false;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return false;
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != host.npos) {
    return false;
  }
  address = host;
  return Count::parse(text.substr(colon + 1), port).empty();
}

std::string print_endpoint(const std::string& address, std::uint16_t port) {
  const bool is_ipv6 = address.find(':') != address.npos;
  return is_ipv6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port);
}

}  // namespace

Complaint Forwards::parse(std::string_view text, std::vector<NetForward>& value) {
  NetForward forward;
  const std::string_view protocol = text.substr(0, 4);
  const std::size_t dash = text.find('-');
  const bool fits = (protocol == "tcp:" || protocol == "udp:") && dash != text.npos &&
                    parse_endpoint(text.substr(4, dash - 4), forward.host_address, forward.host_port) &&
                    parse_endpoint(text.substr(dash + 1), forward.guest_address, forward.guest_port);
  if (!fits) return "is not like tcp:127.0.0.1:2222-:22 or udp:[::1]:53-:53";
  if (protocol == "udp:") forward.protocol = NetForward::Protocol::kUdp;
  value.push_back(std::move(forward));
  return {};
}

std::string Forwards::print(const std::vector<NetForward>& value) {
  std::string list;
  for (const NetForward& forward : value) {
    const bool is_udp = forward.protocol == NetForward::Protocol::kUdp;
    list += list.empty() ? "" : ", ";
    list += toml_string(fmt::format("{}:{}-{}", is_udp ? "udp" : "tcp",
                                    print_endpoint(forward.host_address, forward.host_port),
                                    print_endpoint(forward.guest_address, forward.guest_port)));
  }
  return fmt::format("[{}]", list);
}

Complaint Mac::parse(std::string_view text, std::optional<Address>& value) {
  if (text == "auto") {
    value.reset();
    return {};
  }
  constexpr std::size_t kDigits = 2;
  Address address{};
  bool fits = text.size() == address.size() * (kDigits + 1) - 1;
  for (std::size_t i = 0; i < address.size() && fits; ++i) {
    const char* const at = text.data() + i * (kDigits + 1);
    const auto [stopped, error] = std::from_chars(at, at + kDigits, address[i], 16);
    fits = error == std::errc{} && stopped == at + kDigits && (i + 1 == address.size() || *stopped == ':');
  }
  if (!fits) return "is not an address like 52:54:00:12:34:56";
  value = address;
  return {};
}

std::string Mac::print(const std::optional<Address>& value) {
  return value ? toml_string(fmt::format("{:02x}", fmt::join(*value, ":"))) : toml_string("auto");
}

Complaint Times::parse(std::string_view text, std::uint8_t& value) {
  bool given = false;
  Complaint complaint = Flag::parse(text, given);
  if (given && value < std::numeric_limits<std::uint8_t>::max()) ++value;
  return complaint;
}

Complaint Credential::parse(std::string_view text, CredentialConfig& value) {
  const std::size_t at = text.find('@');
  if (at == text.npos) return "is not ID@FILE";
  value.id = text.substr(0, at);
  value.path = text.substr(at + 1);
  return {};
}

}  // namespace uvmm::command
