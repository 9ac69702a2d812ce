// SPDX-License-Identifier: Apache-2.0
// The guest's side of a ConsoleEnd, and a directory for what is on the other.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

#include "devices/console_end.h"

namespace uvmm {

inline std::span<const u8> bytes(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

// A guest with room for so many bytes.
struct FakeReader final : ConsoleReader {
  bool wants_input() const override { return got.size() < room; }
  u64 take_input(std::span<const u8> input) override {
    const u64 taken = std::min<u64>(input.size(), room - got.size());
    got.append(input.begin(), input.begin() + static_cast<i64>(taken));
    return taken;
  }
  std::string got;
  u64 room = 4_KiB;
};

struct Directory {
  Directory() {
    char name[] = "/tmp/uvmm-console-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

}  // namespace uvmm
