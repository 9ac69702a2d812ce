// SPDX-License-Identifier: Apache-2.0
// Terminal: standard input's terminal in raw mode for as long as the object lives, and the flags of the
// standard streams as they were when it ends. At most one at a time; main thread, but where noted.
#pragma once

#include <cstdint>
#include <optional>

namespace uvmm::command {

struct WindowSize {
  std::uint16_t columns = 0;
  std::uint16_t rows = 0;
};

class Terminal {
 public:
  // Remembers the streams' flags, which the console or another process behind the same descriptors may
  // change. With `raw`, makes standard input's terminal raw and restores it on a crash, too.
  explicit Terminal(bool raw);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() { restore(); }

  // Puts everything back, once. Any thread; also from a signal handler.
  static void restore();
  // Makes the terminal raw again, after the shell had it while this process was stopped. Any thread.
  static void resume();
};

// Standard input is a terminal, and this process is in its foreground: reading it is not for nothing.
bool owns_input_terminal();

// The size of the terminal that standard output or input is; nothing if neither is one or it does not know.
std::optional<WindowSize> window_size();

}  // namespace uvmm::command
