// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/manual.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

#include "vmm/command/failure.h"
#include "vmm/command/options.h"
#include "vmm/control/ctl.h"

namespace uvmm::command {
namespace {

struct Subcommand {
  std::string_view name, arguments, help;
};
constexpr Subcommand kSubcommands[] = {
    {"doctor", "", "says what works on this machine, and what to do about the rest"},
    {"list", "", "the VMs that run with --control auto"},
    {"ctl", "VM VERB", "controls a running VM: see uvmm ctl --help"},
    {"console", "VM", "attaches this terminal to the console of a running VM"},
};

struct Status {
  std::string_view value, meaning;
};
constexpr Status kStatuses[] = {
    {"0", "the guest powered off, or what was asked for was printed"},
    {"64", "the command line does not parse"},
    {"65", "a bad configuration file, value or image"},
    {"66", "a file is missing"},
    {"69", "KVM or a feature of the kernel is missing"},
    {"71", "any other error of the host"},
    {"73", "a file or socket cannot be created"},
    {"75", "busy: a disk is locked, a socket or pidfile is taken"},
    {"77", "no permission"},
    {"80", "the guest rebooted"},
    {"81", "the guest's kernel panicked"},
    {"83", "triple fault, or KVM could not go on"},
    {"128+N", "signal N; 130 also for Ctrl-a x, 143 for a stop by the control socket"},
};

// A switch that is on unless it is switched off is known by its opposite.
std::string name_of(const Option& option) {
  const bool negative = option.is_switch() && default_text(option, option.first()) == "on";
  return fmt::format("--{}{}", negative ? "no-" : "", option.name);
}

// `text` with every character that means something to roff made to stand for itself.
std::string roff(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    if (byte == '-') escaped += '\\';
    if (byte == '\\')
      escaped += "\\e";
    else
      escaped += byte;
  }
  if (escaped.starts_with('.') || escaped.starts_with('\'')) escaped.insert(0, "\\&");
  return escaped;
}

std::string entry(std::string_view bold, std::string_view rest, std::string_view text) {
  return fmt::format(".TP\n\\fB{}\\fR{}\n{}\n", roff(bold), roff(rest), roff(text));
}

std::string entry_of(const Option& option) {
  const Field& first = option.first();
  std::string rest;
  if (!first.value.empty())
    rest = option.optional_value ? fmt::format(" [{}]", first.value) : fmt::format(" {}", first.value);
  if (!option.keys().empty()) rest += "[,...]";
  const std::string letter = option.letter != 0 ? fmt::format("-{}, ", option.letter) : "";
  std::string help(option.help);
  const std::string fallback = option.is_switch() ? "" : default_text(option, first);
  if (!fallback.empty()) help += fmt::format(" (default {})", fallback);
  if (!first.help.empty()) help += fmt::format(". {}", first.help);
  std::string text = entry(letter + name_of(option), rest, help);
  if (option.keys().empty()) return text;
  text += ".RS\n";
  for (const Field& key : option.keys()) {
    const std::string value = key.value.empty() ? "" : fmt::format("={}", key.value);
    text += entry(key.key, value, key.help);
  }
  return text + ".RE\n";
}

// Those of the values that a user could type as they stand: "off" and "file=" of "file=P|off".
std::vector<std::string> words_of(std::string_view value) {
  std::vector<std::string> words;
  while (!value.empty()) {
    const std::size_t end = std::min(value.find('|'), value.size());
    const std::string_view choice = value.substr(0, end);
    const std::string_view word = choice.substr(0, choice.find('=') + 1);
    const std::string_view typed = word.empty() ? choice : word;
    const auto is_name = [](char byte) {
      return std::islower(static_cast<unsigned char>(byte)) || byte == '=';
    };
    if (!typed.empty() && std::ranges::all_of(typed, is_name)) words.emplace_back(typed);
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return words;
}

bool wants_file(const Option& option) {
  const std::string_view value = option.first().value;
  return value.starts_with("PATH") || value == "FILE" || value == "DIR" || value == "ID@FILE";
}

// For a shell's single quotes.
std::string in_quotes(std::string_view text) {
  std::string result;
  for (const char byte : text) result += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return result;
}

std::string verb_names() {
  std::string names;
  for (const control::VerbHelp& verb : control::ctl_verbs())
    names += fmt::format("{}{}", names.empty() ? "" : " ", verb.name);
  return names;
}

}  // namespace

std::string manual_page() {
  std::string text =
      ".TH UVMM 1 \"\" uvmm \"User Commands\"\n"
      ".SH NAME\nuvmm \\- virtual machines with virtio devices and nothing else\n"
      ".SH SYNOPSIS\n.B uvmm\n\\fB\\-\\-kernel\\fR PATH [\\fB\\-\\-disk\\fR PATH] [option...]\n";
  for (const Subcommand& subcommand : kSubcommands)
    text += fmt::format(".br\n\\fBuvmm {}\\fR {}\n", subcommand.name, subcommand.arguments);
  text +=
      ".SH DESCRIPTION\nBoots a Linux kernel in a virtual machine of KVM and ends when the guest does. The "
      "console is "
      "the terminal; Ctrl\\-a x leaves it.\n";
  std::string_view section;
  for (const Option& option : options()) {
    if (option.section != section) text += fmt::format(".SH {}\n", option.section);
    section = option.section;
    text += entry_of(option);
  }
  text += ".SH SUBCOMMANDS\n";
  for (const Subcommand& subcommand : kSubcommands)
    text += entry(subcommand.name, fmt::format(" {}", subcommand.arguments), subcommand.help);
  text += ".SH VERBS OF UVMM CTL\n";
  for (const control::VerbHelp& verb : control::ctl_verbs())
    text += entry(verb.name, fmt::format(" {}", verb.arguments), verb.help);
  text += ".SH EXIT STATUS\n";
  for (const Status& status : kStatuses) text += entry(status.value, "", status.meaning);
  return text;
}

std::string bash_completion() {
  std::string names, cases;
  for (const Option& option : options()) {
    names += fmt::format("{}{}", names.empty() ? "" : " ", name_of(option));
    const std::vector<std::string> words = words_of(option.first().value);
    if (words.empty()) continue;
    cases += fmt::format("    {}) COMPREPLY=($(compgen -W '{}' -f -- \"$word\")); return ;;\n",
                         name_of(option), fmt::join(words, " "));
  }
  std::string subcommands;
  for (const Subcommand& subcommand : kSubcommands) subcommands += fmt::format(" {}", subcommand.name);
  return fmt::format(
      "# Completion of uvmm for bash, made by `uvmm --help bash`.\n"
      "_uvmm() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}\n"
      "  case $previous in\n{}  esac\n"
      "  if [[ $word == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n"
      "  elif ((COMP_CWORD == 1)); then\n"
      "    COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n"
      "  elif ((COMP_CWORD == 3)) && [[ ${{COMP_WORDS[1]}} == ctl ]]; then\n"
      "    COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n"
      "  fi\n"
      "}}\n"
      "complete -o default -F _uvmm uvmm\n",
      cases, names, subcommands.substr(1), verb_names());
}

std::string zsh_completion() {
  std::string text =
      "#compdef uvmm\n# Completion of uvmm for zsh, made by `uvmm --help zsh`.\n_arguments \\\n";
  for (const Option& option : options()) {
    std::string help;
    for (const char byte : option.help) {
      if (byte == '[' || byte == ']' || byte == ':') help += '\\';
      help += byte;
    }
    text += fmt::format("  '*{}[{}]", name_of(option), in_quotes(help));
    const std::vector<std::string> words = words_of(option.first().value);
    if (!option.is_switch()) {
      const std::string action = !words.empty()       ? fmt::format("({})", fmt::join(words, " "))
                                 : wants_file(option) ? "_files"
                                                      : " ";
      text += fmt::format("{}:value:{}", option.optional_value ? ":" : "", action);
    }
    text += "' \\\n";
  }
  std::string subcommands;
  for (const Subcommand& subcommand : kSubcommands) subcommands += fmt::format(" {}", subcommand.name);
  return text +
         fmt::format("  '1:subcommand:({})' '2:VM: ' '3:verb:({})'\n", subcommands.substr(1), verb_names());
}

std::string fish_completion() {
  std::string text = "# Completion of uvmm for fish, made by `uvmm --help fish`.\n";
  for (const Subcommand& subcommand : kSubcommands)
    text += fmt::format("complete -c uvmm -n __fish_is_first_token -a {} -d '{}'\n", subcommand.name,
                        in_quotes(subcommand.help));
  for (const control::VerbHelp& verb : control::ctl_verbs())
    text += fmt::format(
        "complete -c uvmm -n '__fish_seen_subcommand_from ctl; and test (count (commandline -opc)) = 3' -a "
        "{} -d '{}'\n",
        verb.name, in_quotes(verb.help));
  for (const Option& option : options()) {
    text += fmt::format("complete -c uvmm -l {}", name_of(option).substr(2));
    if (option.letter != 0) text += fmt::format(" -s {}", option.letter);
    const std::vector<std::string> words = words_of(option.first().value);
    if (!option.is_switch() && !option.optional_value) text += wants_file(option) ? " -r" : " -x";
    if (!words.empty()) text += fmt::format(" -a '{}'", fmt::join(words, " "));
    text += fmt::format(" -d '{}'\n", in_quotes(option.help));
  }
  return text;
}

std::string made_text(std::string_view name) {
  if (name == "man") return manual_page();
  if (name == "bash") return bash_completion();
  if (name == "zsh") return zsh_completion();
  if (name == "fish") return fish_completion();
  return {};
}

}  // namespace uvmm::command
