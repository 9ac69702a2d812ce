// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the line with which a host program names the guest's port. What is taken for one says its port
// in no other way than as a decimal number.
#include <linux/vm_sockets.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "devices/connect_line.h"

using namespace uvmm;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const std::optional<u32> port = parse_connect_line(line);
  if (!port) return 0;
  if (*port == VMADDR_PORT_ANY) std::abort();
  // Leading zeroes apart, the digits are the port's.
  const std::size_t start = line.find_first_of("0123456789");
  std::string digits(line.substr(start, line.find_first_not_of("0123456789", start) - start));
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (digits != std::to_string(*port)) std::abort();
  if (parse_connect_line("CONNECT " + digits) != port) std::abort();
  return 0;
}
