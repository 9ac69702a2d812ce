// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/parse.h"

#include <fmt/format.h>

#include <algorithm>

#include "vmm/command/arguments.h"
#include "vmm/command/failure.h"
#include "vmm/command/items.h"

namespace uvmm::command {
namespace {

// What helps with a number that is none, or does not fit. Names speak for themselves.
std::string number_hint(const Option& option, const Field& field) {
  if (field.file_type != FileType::kInteger) return {};
  return fmt::format("the default is {}", default_text(option, field));
}

Result<void> assign(const Option& option, const Field& field, void* object, std::string_view text,
                    const std::string& subject) {
  const Complaint complaint = field.assign(object, text);
  if (complaint.empty()) return {};
  return with_hint(fail(ErrorKind::kUsage, "{}: \"{}\" {}", subject, quote(text), complaint),
                   number_hint(option, field));
}

// One key of a group: `key`, `no-key` or `key=value`.
Result<void> assign_item(const Option& option, void* object, const Item& item, const std::string& subject,
                         std::vector<const Field*>& seen) {
  std::string_view name = item.key;
  const bool negated = name.starts_with("no-") && !item.value;
  if (negated) name.remove_prefix(3);
  const Result<const Field*> found = find_key(option, name, subject, ErrorKind::kUsage);
  if (!found) return std::unexpected(found.error());
  const Field& field = **found;

  const bool may_repeat = field.file_type == FileType::kStrings;
  if (!may_repeat && std::ranges::find(seen, &field) != seen.end()) {
    return fail(ErrorKind::kUsage, "{}: {} is given twice", subject, field.key);
  }
  seen.push_back(&field);
  if (item.value)
    return assign(option, field, object, *item.value, fmt::format("{}: {}", subject, field.key));
  if (field.value.empty()) return assign(option, field, object, negated ? "off" : "on", subject);
  if (negated) return fail(ErrorKind::kUsage, "{}: {} cannot be switched off", subject, field.key);
  return with_hint(fail(ErrorKind::kUsage, "{}: {} lacks its value", subject, field.key),
                   fmt::format("{}={}", field.key, field.value));
}

Result<void> apply(const Argument& argument, Settings& settings) {
  const Option& option = *argument.option;
  void* const object = option.place.open(settings);
  const std::string subject = fmt::format("--{}", option.name);
  if (option.keys().empty()) return assign(option, option.first(), object, argument.text, subject);

  const Items items = split_items(argument.text);
  if (Result<void> first = assign(option, option.first(), object, items.first, subject); !first) return first;
  std::vector<const Field*> seen;
  for (const Item& item : items.rest) {
    const std::string with_value = fmt::format("{} {}", subject, quote(items.first));
    if (Result<void> done = assign_item(option, object, item, with_value, seen); !done) return done;
  }
  return {};
}

Result<void> refuse_repeats(std::span<const Argument> arguments) {
  std::vector<const Option*> seen;
  for (const Argument& argument : arguments) {
    const Option& option = *argument.option;
    if (option.place.list || option.repeatable) continue;
    if (std::ranges::find(seen, &option) != seen.end()) {
      return with_hint(fail(ErrorKind::kUsage, "--{}: given twice", option.name), "leave one out");
    }
    seen.push_back(&option);
  }
  return {};
}

}  // namespace

Result<const Field*> find_key(const Option& option, std::string_view name, const std::string& subject,
                              ErrorKind kind) {
  std::vector<std::string_view> names;
  for (const Field& field : option.keys()) {
    if (field.key == name) return &field;
    names.push_back(field.key);
  }
  const std::string_view guess = nearest(name, names);
  return with_hint(fail(kind, "{}: unknown key \"{}\"", subject, quote(name)),
                   guess.empty() ? fmt::format("the keys are {}", fmt::join(names, ", "))
                                 : fmt::format("did you mean {}?", guess));
}

LogFormat log_format_of(std::span<const char* const> argv) {
  constexpr std::string_view kOption = "--log-format";
  LogFormat format = LogFormat::kText;
  for (std::size_t i = 1; i < argv.size(); ++i) {
    std::string_view argument = argv[i];
    if (!argument.starts_with(kOption)) continue;
    argument.remove_prefix(kOption.size());
    if (argument.empty() && i + 1 < argv.size()) Format::parse(argv[i + 1], format);
    if (argument.starts_with('=')) Format::parse(argument.substr(1), format);
  }
  return format;
}

Result<Parsed> parse(std::span<const char* const> argv) {
  Result<std::vector<Argument>> arguments = split_arguments(argv);
  if (!arguments) return std::unexpected(std::move(arguments.error()));
  if (Result<void> once = refuse_repeats(*arguments); !once) return std::unexpected(std::move(once.error()));

  Parsed parsed;
  for (const Argument& argument : *arguments) {
    if (argument.option->name != "config") continue;
    Result<void> read = read_config_file(argument.text, parsed.settings, parsed.origins);
    if (!read) return std::unexpected(std::move(read.error()));
  }
  for (const Argument& argument : *arguments) {
    if (argument.option->name == "help") parsed.settings.help = true;
    Result<void> applied = apply(argument, parsed.settings);
    if (!applied) return std::unexpected(std::move(applied.error()));
    const std::string subject = fmt::format("--{}", argument.option->name);
    std::erase_if(parsed.origins, [&](const Origin& origin) { return origin.subject == subject; });
  }
  return parsed;
}

Error locate(Error error, const Origins& origins) {
  for (const Option& option : options()) {
    const std::string subject = fmt::format("--{} ", option.name);
    if (error.kind != ErrorKind::kBadData || !error.hint.empty()) break;
    if (error.message.starts_with(subject)) error.hint = number_hint(option, option.first());
  }

  // The longest subject is the one that the message is about: "--disk a.img2: ..." is not about "--disk
  // a.img".
  const Origin* best = nullptr;
  for (const Origin& origin : origins) {
    const std::string_view message = error.message;
    if (!message.starts_with(origin.subject)) continue;
    const std::string_view rest = message.substr(origin.subject.size());
    if (!rest.starts_with(':') && !rest.starts_with(' ')) continue;
    if (!best || origin.subject.size() >= best->subject.size()) best = &origin;
  }
  if (best) error.message = fmt::format("{}: {}", best->location, error.message);
  return error;
}

}  // namespace uvmm::command
