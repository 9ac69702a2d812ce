// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/help.h"

#include <vector>

#include "vmm/command/failure.h"
#include "vmm/command/manual.h"
#include "vmm/command/options.h"

namespace uvmm::command {
namespace {

// "--disk PATH[,...]": how to write the option.
std::string synopsis(const Option& option) {
  const Field& first = option.first();
  const bool negative = option.is_switch() && default_text(option, first) == "on";
  std::string text = option.letter != 0 ? fmt::format("-{}, ", option.letter) : "";
  text += fmt::format("--{}{}", negative ? "no-" : "", option.name);
  if (first.value.empty()) return text;
  text += option.optional_value ? fmt::format(" [{}]", first.value) : fmt::format(" {}", first.value);
  if (!option.keys().empty()) text += "[,...]";
  return text;
}

// A row of two columns; the second starts on a line of its own if the first is too long for it.
std::string row(std::string_view left, std::string_view right, std::string_view fallback) {
  constexpr std::size_t kColumn = 25;
  const std::string_view gap = left.size() > kColumn ? "\n" : "";
  const std::size_t indent = left.size() > kColumn ? kColumn + 3 : kColumn - left.size() + 1;
  std::string text = fmt::format("  {}{}{:{}}{}", left, gap, "", indent, right);
  if (!fallback.empty()) text += fmt::format(" (default {})", fallback);
  return text + '\n';
}

std::string key_synopsis(const Field& field) {
  if (!field.value.empty()) return fmt::format("{}={}", field.key, field.value);
  return fmt::format("{}, no-{}", field.key, field.key);
}

}  // namespace

std::string short_usage() {
  return "usage: uvmm --kernel PATH [--initrd PATH] [--disk PATH[,key=value|,key|,no-key...]] [option...]\n"
         "       uvmm doctor | list | ctl VM VERB | console VM | --help [GROUP] | --version\n";
}

std::string help() {
  std::string text = short_usage();
  std::string_view section;
  for (const Option& option : options()) {
    if (option.section != section) text += fmt::format("{}:\n", option.section);
    section = option.section;
    text +=
        row(synopsis(option), option.help, option.is_switch() ? "" : default_text(option, option.first()));
  }
  text += "--help GROUP lists the keys of an option with [,...]; a comma in a value is written twice.\n";
  return text;
}

Result<std::string> help_on(std::string_view group) {
  if (group.starts_with("--")) group.remove_prefix(2);
  if (std::string made = made_text(group); !made.empty()) return made;
  const Option* const option = find_option(group);
  if (!option) {
    std::vector<std::string_view> names;
    for (const Option& known : options()) names.push_back(known.name);
    const std::string_view guess = nearest(group, names);
    return with_hint(fail(ErrorKind::kUsage, "--help: there is no group \"{}\"", quote(group)),
                     guess.empty() ? "see uvmm --help" : fmt::format("did you mean {}?", guess));
  }
  std::string text = fmt::format("{}: {}\n", synopsis(*option), option->help);
  if (!option->first().help.empty()) {
    text += row(option->first().value, option->first().help, default_text(*option, option->first()));
  }
  for (const Field& key : option->keys())
    text += row(key_synopsis(key), key.help, default_text(*option, key));
  if (option->place.list) text += "Repeatable; the order is kept.\n";
  return text;
}

}  // namespace uvmm::command
