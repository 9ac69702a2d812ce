// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/settings.h"

#include <unistd.h>

namespace uvmm::command {

ConsoleConfig console_config(const ConsoleChoice& choice, bool input_is_terminal) {
  ConsoleConfig console;
  console.path = choice.path;
  switch (choice.kind) {
    case ConsoleChoice::Kind::kAuto:
      console.kind = ConsoleConfig::Kind::kStreams;
      console.input_fd = input_is_terminal ? STDIN_FILENO : -1;
      break;
    case ConsoleChoice::Kind::kTty:
      console.kind = ConsoleConfig::Kind::kStreams;
      console.input_fd = STDIN_FILENO;
      break;
    case ConsoleChoice::Kind::kFile:
      console.kind = ConsoleConfig::Kind::kFile;
      break;
    case ConsoleChoice::Kind::kUnix:
      console.kind = ConsoleConfig::Kind::kUnix;
      break;
    case ConsoleChoice::Kind::kOff:
      console.kind = ConsoleConfig::Kind::kOff;
      break;
  }
  if (console.kind != ConsoleConfig::Kind::kStreams) return console;
  console.output_fd = STDOUT_FILENO;
  console.escape = input_is_terminal && console.input_fd >= 0;  // a pipe's bytes are all the guest's
  return console;
}

}  // namespace uvmm::command
