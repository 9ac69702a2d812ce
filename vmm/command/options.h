// SPDX-License-Identifier: Apache-2.0
// The table of options: one row an option, one row a key of it. Everything that knows options (the command
// line, the configuration file, --help, --print-config) walks this table. Constant data; any thread.
//
// A new option is a row in kOptions; a new key is a row in its fields.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>

#include "vmm/command/settings.h"
#include "vmm/command/values.h"

namespace uvmm::command {

struct Field {
  std::string_view key;    // its name in the file, and after a comma on the command line
  std::string_view value;  // what --help calls the value; empty: a flag that may stand alone
  std::string_view help;
  FileType file_type;
  Complaint (*assign)(void* object, std::string_view text);
  std::string (*print)(const void* object);  // as TOML
};

// A field that `Access` (a member pointer, or a function) finds in an Object, with the values of `Kind`.
template <typename Kind, typename Object, auto Access>
constexpr Field field(std::string_view key, std::string_view value, std::string_view help) {
  return Field{
      .key = key,
      .value = value,
      .help = help,
      .file_type = Kind::kFileType,
      .assign =
          [](void* object, std::string_view text) {
            return Kind::parse(text, std::invoke(Access, *static_cast<Object*>(object)));
          },
      .print =
          [](const void* object) {
            return Kind::print(std::invoke(Access, *static_cast<const Object*>(object)));
          },
  };
}

// Where an option's values are kept: in one object, or in a list of them.
struct Place {
  void* (*open)(Settings&);                   // the object, or a new one at the list's end
  std::size_t (*count)(const Settings&);      // how many there are
  void* (*at)(Settings&, std::size_t index);  // one of them
  bool list = false;
};

struct Option {
  std::string_view name;
  char letter = 0;           // of the short form
  std::string_view section;  // the heading above it in --help
  std::string_view help;
  std::span<const Field> fields;  // the first is the value itself, the rest are its keys
  Place place;
  bool in_file = true;          // a configuration file and --print-config have it
  bool optional_value = false;  // the value may be left out
  bool repeatable = false;      // may be given again although it is no list

  const Field& first() const { return fields.front(); }
  std::span<const Field> keys() const { return fields.subspan(1); }
  bool is_switch() const { return first().value.empty(); }
};

std::span<const Option> options();
const Option* find_option(std::string_view name);

// A field's default in --help's words; empty if there is nothing to say.
std::string default_text(const Option& option, const Field& field);

}  // namespace uvmm::command
