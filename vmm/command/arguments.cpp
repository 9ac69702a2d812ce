// SPDX-License-Identifier: Apache-2.0
// The one place that knows CLI11, which takes the command line apart: `--name value`, `--name=value`, `-vq`.
// What the values mean is the table's business.
#include "vmm/command/arguments.h"

#include <algorithm>
#include <map>
#include <string_view>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "vmm/command/failure.h"

namespace uvmm::command {
namespace {

constexpr std::size_t kLongestArgument = 64 << 10;

// Registering an option takes 2 us, which all of them together would make the costliest part of the command;
// so only those are registered that some argument could mean.
bool may_occur(const Option& option, std::span<const char* const> argv) {
  for (const std::string_view argument : argv.subspan(1)) {
    if (!argument.starts_with('-')) continue;
    if (!argument.starts_with("--")) {
      if (option.letter != 0) return true;
      continue;
    }
    std::string_view name = argument.substr(2);
    if (name.starts_with("no-")) name.remove_prefix(3);
    if (name.starts_with(option.name)) return true;
  }
  return false;
}

CLI::Option* add(CLI::App& app, const Option& option) {
  std::string names = fmt::format("--{}", option.name);
  if (option.letter != 0) names += fmt::format(",-{}", option.letter);
  if (option.is_switch()) {
    if (!option.repeatable) names += fmt::format(",!--no-{}", option.name);
    return app.add_flag(names)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  CLI::Option* const added = app.add_option(names);
  added->expected(option.optional_value ? 0 : 1, 1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return added->allow_extra_args(false);
}

std::unexpected<Error> refuse_unknown(std::string_view argument) {
  if (!argument.starts_with('-')) {
    return with_hint(fail(ErrorKind::kUsage, "unexpected argument: {}", quote(argument)),
                     argument == "doctor" ? "it goes alone: uvmm doctor"
                                          : "every argument is an option or its value; see uvmm --help");
  }
  std::vector<std::string_view> names;
  for (const Option& option : options()) names.push_back(option.name);
  const std::string_view given = argument.substr(0, argument.find('='));
  const std::size_t dashes = given.find_first_not_of('-');
  const std::string_view guess = dashes == given.npos ? "" : nearest(given.substr(dashes), names);
  return with_hint(fail(ErrorKind::kUsage, "unknown option: {}", quote(given)),
                   guess.empty() ? "see uvmm --help" : fmt::format("did you mean --{}?", guess));
}

std::string text_of(const Option& option, const std::string& result) {
  if (!option.is_switch()) return result;
  if (result == "true") return "on";
  if (result == "false") return "off";
  return result;
}

// CLI11 takes the next argument for the value of `--name=`; an empty value has to stand by itself.
std::vector<std::string> separate_empty_values(std::span<const char* const> argv) {
  std::vector<std::string> separated;
  for (const std::string_view argument : argv.subspan(1)) {
    const bool empty_value = argument.starts_with("--") && argument.find('=') == argument.size() - 1;
    separated.emplace_back(empty_value ? argument.substr(0, argument.size() - 1) : argument);
    if (empty_value) separated.emplace_back();
  }
  return separated;
}

Result<std::vector<Argument>> split(std::span<const char* const> argv) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::map<const CLI::Option*, const Option*> known;
  for (const Option& option : options()) {
    if (may_occur(option, argv)) known[add(app, option)] = &option;
  }
  std::vector<std::string> separated = separate_empty_values(argv);
  std::ranges::reverse(separated);  // as App::parse() wants them
  app.parse(std::move(separated));
  if (const std::vector<std::string> rest = app.remaining(); !rest.empty())
    return refuse_unknown(rest.front());

  std::vector<Argument> arguments;
  std::map<const CLI::Option*, std::size_t> taken;
  for (const CLI::Option* const given : app.parse_order()) {
    const std::vector<std::string>& results = given->results();
    const Option& option = *known.at(given);
    const std::size_t index = taken[given]++;
    if (index < results.size()) {
      arguments.push_back({&option, text_of(option, results[index])});
    } else if (index == 0) {
      arguments.push_back({&option, {}});  // an optional value that was left out
    }
  }
  return arguments;
}

}  // namespace

Result<std::vector<Argument>> split_arguments(std::span<const char* const> argv) {
  for (const std::string_view argument : argv.subspan(1)) {
    if (argument.size() > kLongestArgument) {
      return fail(ErrorKind::kUsage, "argument {}: longer than {} bytes", quote(argument), kLongestArgument);
    }
  }
  try {
    return split(argv);
  } catch (const CLI::ArgumentMismatch& mismatch) {
    const std::string_view what = mismatch.what();  // "--disk: 1 required ..."
    return fail(ErrorKind::kUsage, "{}: its value is missing", quote(what.substr(0, what.find(':'))));
  } catch (const CLI::Error& error) {
    return fail(ErrorKind::kUsage, "{}", quote(error.what()));
  }
}

}  // namespace uvmm::command
