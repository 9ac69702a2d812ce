// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a configuration file, whose text the input is. Whatever it says: it is taken or refused with a
// message that fits one line, no exception comes out, and what is taken can be checked and printed.
#include "tests/fuzz/command.h"

using namespace uvmm;
using namespace uvmm::command;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Settings settings;
  Origins origins;
  const Result<void> read =
      read_config({reinterpret_cast<const char*>(data), size}, "vm.toml", settings, origins);
  if (read) {
    check_accepted(settings, origins);
  } else {
    check_refusal(read.error(), ErrorKind::kBadData);
  }
  return 0;
}
