// SPDX-License-Identifier: Apache-2.0
// Messages: what the command says on standard error and in its log file. One per process; any thread, each
// message is one write. Where standard error is systemd's journal, each has its priority (sd-daemon(3)).
#pragma once

#include <unistd.h>

#include <atomic>
#include <string>
#include <string_view>

#include <uvmm/error.hpp>

#include "vmm/command/settings.h"

namespace uvmm::command {

// Whether the descriptor is what $JOURNAL_STREAM says (systemd.exec(5)).
bool is_journal(int fd);

class Messages {
 public:
  Messages() = default;
  Messages(const Messages&) = delete;
  Messages& operator=(const Messages&) = delete;

  void set_format(LogFormat format) { format_ = format; }
  // Takes level, format, the VM's name and the log file from `settings`.
  Result<void> configure(const Settings& settings);

  LogLevel level() const { return level_; }
  void set_level(LogLevel level) { level_ = level; }

  // While the terminal is raw, a line feed does not return the carriage there.
  void set_raw(bool raw);

  // Errors go to standard error; everything else does unless there is a log file, which gets all.
  void log(LogLevel level, std::string_view message) { say(level, message, {}, Wait::kYes); }
  // From the threads of a running VM, which must not wait for whoever reads standard error (a pager, say):
  // what it has no room for is lost.
  void log_of_vm(LogLevel level, std::string_view message) { say(level, message, {}, Wait::kNo); }
  void error(const Error& error) { say(LogLevel::kError, error.message, error.hint, Wait::kYes); }

 private:
  enum class Wait : bool { kNo, kYes };
  void say(LogLevel level, std::string_view message, std::string_view hint, Wait wait);
  void write_to_stderr(LogLevel level, std::string text, Wait wait) const;

  std::atomic<LogLevel> level_ = LogLevel::kWarning;
  LogFormat format_ = LogFormat::kText;
  std::string name_;
  int log_fd_ = -1;  // until the process ends
  std::atomic<bool> raw_ = false;
  const bool to_journal_ = is_journal(STDERR_FILENO);
};

// False if whoever reads is gone, or the descriptor takes no more.
bool write_all(int fd, std::string_view text);

// RFC 3339, UTC, to the millisecond.
std::string current_time();

// One message, line feed included. `time` may be empty.
std::string text_message(std::string_view time, LogLevel level, std::string_view message,
                         std::string_view hint);
std::string json_message(std::string_view time, LogLevel level, std::string_view vm, std::string_view message,
                         std::string_view hint);

}  // namespace uvmm::command
