// SPDX-License-Identifier: Apache-2.0
// Parsing: from a command line, and the configuration file that it names, to Settings. Only the form is
// checked here; what the values mean for a machine is uvmm::check()'s business.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <uvmm/error.hpp>

#include "vmm/command/options.h"

namespace uvmm::command {

// Where in the configuration file a value stands, for messages about it.
struct Origin {
  std::string subject;   // "--cpus", "--disk a.img": how messages begin that are about it
  std::string location;  // "vm.toml:3:8"
};
using Origins = std::vector<Origin>;

struct Parsed {
  Settings settings;
  Origins origins;
};

// `argv` as main() has it. A configuration file is read first, so that the command line overrides it: key by
// key, and where an option is a list, the command line's elements follow the file's.
Result<Parsed> parse(std::span<const char* const> argv);

// What --log-format says, for the messages about a command line that does not parse. Text if it does not say.
LogFormat log_format_of(std::span<const char* const> argv);

// Reads `path` into `settings`; refuses what is not TOML, too long, or not in the table.
Result<void> read_config_file(const std::string& path, Settings& settings, Origins& origins);
// The same for a text; messages call it `path`.
Result<void> read_config(std::string_view text, const std::string& path, Settings& settings,
                         Origins& origins);

// The key of `option` with that name, or the error that names the nearest one. `subject` is who asks.
Result<const Field*> find_key(const Option& option, std::string_view name, const std::string& subject,
                              ErrorKind kind);

// `error`, a finding of uvmm::check(), with the place in the configuration file that it is about, and with a
// hint if it is about a number and has none.
Error locate(Error error, const Origins& origins);

}  // namespace uvmm::command
