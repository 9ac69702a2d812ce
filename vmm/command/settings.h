// SPDX-License-Identifier: Apache-2.0
// Settings: everything a command line and a configuration file can say. Plain data; one thread.
#pragma once

#include <cstdint>
#include <string>

#include <uvmm/uvmm.hpp>

namespace uvmm::command {

enum class LogFormat : std::uint8_t { kText, kJson };
enum class ConfigFormat : std::uint8_t { kNone, kToml, kJson };

// What `--console` names. The descriptors behind it are chosen by console_config().
struct ConsoleChoice {
  enum class Kind : std::uint8_t { kAuto, kTty, kFile, kUnix, kOff };
  Kind kind = Kind::kAuto;
  std::string path;  // kFile, kUnix
};

// What `--control` names.
struct ControlChoice {
  enum class Kind : std::uint8_t {
    kOff,
    kAuto,  // by the VM's name
    kPath,
    kFd,      // a listening socket that is inherited
    kPassed,  // one that the service manager passes on under the name `path` (sd_listen_fds(3))
  };
  Kind kind = Kind::kOff;
  std::string path;
  int fd = -1;
};

struct Settings {
  Config config{.name = "uvmm"};
  ConsoleChoice console;
  ControlChoice control;
  std::string pidfile;
  std::string log_file;
  LogLevel log_level = LogLevel::kWarning;
  LogFormat log_format = LogFormat::kText;
  std::uint8_t verbose = 0;  // how often -v was given
  bool quiet = false;

  // These are the command line's alone.
  std::string config_file;
  bool dry_run = false;
  ConfigFormat print_config = ConfigFormat::kNone;
  bool version = false;
  bool help = false;
  std::string help_topic;
};

// The level that --log-level, -v and -q amount to.
constexpr LogLevel effective_log_level(const Settings& settings) {
  if (settings.quiet) return LogLevel::kError;
  if (settings.verbose > 1) return LogLevel::kDebug;
  if (settings.verbose == 1 && settings.log_level < LogLevel::kInfo) return LogLevel::kInfo;
  return settings.log_level;
}

// `choice` as the library wants it: standard streams for `tty`. `input_is_terminal`: standard input is a
// terminal that this process may use.
ConsoleConfig console_config(const ConsoleChoice& choice, bool input_is_terminal);

}  // namespace uvmm::command
