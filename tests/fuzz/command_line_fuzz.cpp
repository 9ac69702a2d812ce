// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a command line. The input is its arguments, one a line, where a byte from 0x80 on stands for
// an option or a key of the table. Whatever they are: they are taken or refused with a message that fits one
// line, no exception comes out, and what is taken can be checked and printed.
#include <string>
#include <vector>

#include "tests/fuzz/command.h"
#include "vmm/command/arguments.h"
#include "vmm/command/help.h"

using namespace uvmm;
using namespace uvmm::command;

namespace {

std::vector<std::string> words_of_table() {
  std::vector<std::string> words = {
      "--no-", "auto", "file=", "unix=", "\xff", "/tmp/", std::string(70'000, 'a')};
  for (const Option& option : options()) {
    words.push_back("--" + std::string(option.name));
    for (const Field& key : option.keys()) words.push_back("," + std::string(key.key));
  }
  return words;
}

std::vector<std::string> split_lines(std::string_view text) {
  static const std::vector<std::string> kWords = words_of_table();
  std::vector<std::string> lines = {"uvmm", ""};
  for (const char byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if (byte == '\n') {
      lines.emplace_back();
    } else if (code >= 0x80 && code - 0x80u < kWords.size()) {
      lines.back() += kWords[code - 0x80u];
    } else if (byte != '\0') {
      lines.back() += byte;
    }
  }
  return lines;
}

// Nothing may be opened that the input names.
bool names_config_file(const std::vector<Argument>& arguments) {
  for (const Argument& argument : arguments) {
    if (argument.option->name == "config" && !argument.text.empty()) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> lines = split_lines({reinterpret_cast<const char*>(data), size});
  std::vector<const char*> argv;
  for (const std::string& line : lines) argv.push_back(line.c_str());

  log_format_of(argv);
  const Result<std::vector<Argument>> arguments = split_arguments(argv);
  if (!arguments) check_refusal(arguments.error(), ErrorKind::kUsage);
  if (!arguments || names_config_file(*arguments)) return 0;
  const Result<Parsed> parsed = parse(argv);
  if (!parsed) {
    check_refusal(parsed.error());
    return 0;
  }
  check_accepted(parsed->settings, parsed->origins);
  if (!parsed->settings.help) return 0;
  const Result<std::string> help = help_on(parsed->settings.help_topic);
  if (!help) check_refusal(help.error(), ErrorKind::kUsage);
  return 0;
}
