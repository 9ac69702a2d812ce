// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/print_config.h"

#include "vmm/command/failure.h"
#include "vmm/command/options.h"
#include "vmm/command/parse.h"

namespace uvmm::command {
namespace {

// `initrd = ["a", "b"]`, `cpus = 2`.
std::string print_value(const Option& option, Settings& settings) {
  if (!option.place.list) {
    return fmt::format("{} = {}\n", option.name, option.first().print(option.place.at(settings, 0)));
  }
  std::string elements;
  for (std::size_t i = 0; i < option.place.count(settings); ++i) {
    elements += fmt::format("{}{}", i == 0 ? "" : ", ", option.first().print(option.place.at(settings, i)));
  }
  return fmt::format("{} = [{}]\n", option.name, elements);
}

// `[memory]` or, for each disk, `[[disk]]`, with the keys below.
std::string print_tables(const Option& option, Settings& settings) {
  std::string text;
  for (std::size_t i = 0; i < option.place.count(settings); ++i) {
    text += option.place.list ? fmt::format("\n[[{}]]\n", option.name) : fmt::format("\n[{}]\n", option.name);
    const void* const object = option.place.at(settings, i);
    for (const Field& field : option.fields) text += fmt::format("{} = {}\n", field.key, field.print(object));
  }
  return text;
}

}  // namespace

Result<std::string> print_config(Settings settings) {
  std::string values, tables;  // TOML wants the tables last
  for (const Option& option : options()) {
    if (!option.in_file) continue;
    if (option.keys().empty()) {
      values += print_value(option, settings);
    } else {
      tables += print_tables(option, settings);
    }
  }
  const std::string text = values + tables;

  Settings read_back;
  Origins origins;
  const Result<void> read = read_config(text, "--print-config", read_back, origins);
  if (!read) return std::unexpected(read.error());
  return text;
}

}  // namespace uvmm::command
