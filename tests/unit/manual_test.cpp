// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/manual.h"

#include <unistd.h>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "vmm/command/help.h"
#include "vmm/command/options.h"
#include "vmm/control/ctl.h"

namespace uvmm::command {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

// Runs `command` on a file with `text`, which is its last argument.
int run_on(const std::string& text, const std::string& command) {
  char path[] = "/tmp/uvmm-manual-XXXXXX";
  ::close(::mkstemp(path));
  std::ofstream(path) << text;
  const int status = std::system((command + " " + path).c_str());
  std::remove(path);
  return status;
}

TEST_CASE("manual: has every option, every key, and nothing that roff would take for a request") {
  const std::string page = manual_page();
  for (const Option& option : options()) {
    std::string name(option.name);
    for (std::size_t at = 0; (at = name.find('-', at)) != name.npos; at += 2) name.insert(at, "\\");
    CHECK_THAT(page, Contains(name));
    for (const Field& key : option.keys())
      CHECK_THAT(page, Contains("\n\\fB" + std::string(key.key.substr(0, key.key.find('-')))));
  }
  std::size_t start = 0;
  for (std::size_t end; (end = page.find('\n', start)) != page.npos; start = end + 1) {
    const std::string line = page.substr(start, end - start);
    CAPTURE(line);
    CHECK_FALSE(line.empty());
    const bool is_request = line.starts_with(".TH ") || line.starts_with(".SH ") || line == ".TP" ||
                            line.starts_with(".B ") || line == ".br" || line == ".RS" || line == ".RE";
    CHECK((is_request || !line.starts_with('.')));
    CHECK_FALSE(line.starts_with('\''));
  }
}

TEST_CASE("manual: page and completions have what ctl can be told") {
  for (const control::VerbHelp& verb : control::ctl_verbs()) {
    const std::string name(verb.name);
    CHECK_THAT(manual_page(), Contains("\\fB" + name.substr(0, name.find('-'))));
    CHECK_THAT(zsh_completion(), Contains(name));
    CHECK_THAT(fish_completion(), Contains("-a " + name + " -d"));
  }
}

TEST_CASE("manual: completions have every option") {
  for (const Option& option : options()) {
    const std::string name(option.name);
    CHECK_THAT(bash_completion(), Contains(name));
    CHECK_THAT(zsh_completion(), Contains(name + "["));
    CHECK_THAT(fish_completion(), Contains(name));
  }
}

TEST_CASE("manual: bash takes its completion, and completes options, values and subcommands") {
  CHECK(run_on(bash_completion() + R"(
complete_as() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _uvmm; echo "${COMPREPLY[*]}"; }
[[ $(complete_as uvmm --ker) == --kernel ]] || exit 1
[[ $(complete_as uvmm --no-def) == --no-default-cmdline ]] || exit 2
[[ $(complete_as uvmm --log-format j) == json ]] || exit 3
[[ $(complete_as uvmm do) == doctor ]] || exit 4
[[ $(complete_as uvmm ctl web power) == power-button ]] || exit 5
)",
               "bash") == 0);
}

TEST_CASE("manual: what is made is printed like a group of options") {
  CHECK_THAT(*help_on("man"), StartsWith(".TH UVMM 1"));
  CHECK_THAT(*help_on("fish"), StartsWith("# Completion"));
  CHECK_FALSE(help_on("powershell"));
}

}  // namespace
}  // namespace uvmm::command
