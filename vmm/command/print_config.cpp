// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/print_config.h"

#include <nlohmann/json.hpp>

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

// What TOML has for a value is JSON, too: strings, whole numbers, true and false, lists of strings.
std::string json_members(const Option& option, Settings& settings, std::size_t index) {
  std::string text;
  const void* const object = option.place.at(settings, index);
  for (const Field& field : option.fields)
    text += fmt::format("{}\"{}\": {}", text.empty() ? "" : ", ", field.key, field.print(object));
  return '{' + text + '}';
}

std::string json_value(const Option& option, Settings& settings) {
  std::string elements;
  const std::size_t count = option.place.count(settings);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string element = option.keys().empty() ? option.first().print(option.place.at(settings, i))
                                                      : json_members(option, settings, i);
    elements += (i == 0 ? "" : ", ") + element;
  }
  return option.place.list ? '[' + elements + ']' : elements;
}

}  // namespace

Result<std::string> print_config_json(Settings settings) {
  std::string text;
  for (const Option& option : options()) {
    if (!option.in_file || option.place.count(settings) == 0) continue;
    text +=
        fmt::format("{}  \"{}\": {}", text.empty() ? "" : ",\n", option.name, json_value(option, settings));
  }
  text = "{\n" + text + "\n}\n";
  if (nlohmann::json::accept(text)) return text;
  return fail(ErrorKind::kBadData,
              "--print-config: there is a text that is not UTF-8, so that it cannot be JSON");
}

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
