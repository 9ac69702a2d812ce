// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/messages.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <ctime>
#include <utility>

#include <nlohmann/json.hpp>

#include "vmm/command/failure.h"

namespace uvmm::command {
namespace {

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      break;
  }
  return "debug";
}

// As in syslog(3).
std::string_view journal_priority(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "<3>";
    case LogLevel::kWarning:
      return "<4>";
    case LogLevel::kInfo:
      return "<6>";
    case LogLevel::kDebug:
      break;
  }
  return "<7>";
}

// Each line is an entry of the journal.
std::string with_priority(LogLevel level, std::string_view text) {
  std::string result;
  for (bool begins = true; const char byte : text) {
    if (std::exchange(begins, byte == '\n')) result += journal_priority(level);
    result += byte;
  }
  return result;
}

std::string with_carriage_returns(std::string_view text) {
  std::string result;
  for (const char byte : text) {
    if (byte == '\n') result += '\r';
    result += byte;
  }
  return result;
}

}  // namespace

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string current_time() {
  timespec now{};
  tm parts{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::gmtime_r(&now.tv_sec, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1'000'000);
}

std::string text_message(std::string_view time, LogLevel level, std::string_view message,
                         std::string_view hint) {
  std::string text = fmt::format("{}{}{}: {}\n", time, time.empty() ? "" : " ", level_name(level), message);
  if (!hint.empty()) text += fmt::format("  hint: {}\n", hint);
  return text;
}

std::string json_message(std::string_view time, LogLevel level, std::string_view vm, std::string_view message,
                         std::string_view hint) {
  nlohmann::ordered_json object = {{"time", time}, {"level", level_name(level)}};
  if (!vm.empty()) object["vm"] = vm;
  object["message"] = message;
  if (!hint.empty()) object["hint"] = hint;
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

Result<void> Messages::configure(const Settings& settings) {
  level_ = settings.log_level;
  format_ = settings.log_format;
  name_ = settings.config.name;
  if (settings.log_file.empty()) return {};
  const int fd = ::open(settings.log_file.c_str(),
                        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
  if (fd < 0) {
    return fail(ErrorKind::kCannotCreate, "--log-file {}: {}", quote(settings.log_file), error_text(errno));
  }
  log_fd_ = fd;
  return {};
}

void Messages::set_raw(bool raw) {
  raw_ = raw && ::isatty(STDERR_FILENO) == 1;
}

bool is_journal(int fd) {
  const char* const journal = std::getenv("JOURNAL_STREAM");
  struct stat status{};
  return journal && ::fstat(fd, &status) == 0 &&
         journal == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

void Messages::write_to_stderr(LogLevel level, std::string message, Wait wait) const {
  if (to_journal_) message = with_priority(level, message);
  std::string_view text = message;
  if (wait == Wait::kYes) {
    write_all(STDERR_FILENO, text);  // whatever hinders it, there is nobody left to tell
    return;
  }
  // Where poll says so, so much can be written at once. Not O_NONBLOCK: others have the stream, too.
  while (!text.empty()) {
    pollfd stream{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    if (::poll(&stream, 1, 0) != 1) return;
    const std::string_view piece = text.substr(0, PIPE_BUF);
    write_all(STDERR_FILENO, piece);
    text.remove_prefix(piece.size());
  }
}

void Messages::say(LogLevel level, std::string_view message, std::string_view hint, Wait wait) {
  if (level > level_) return;
  if (format_ == LogFormat::kJson) {
    const std::string line = json_message(current_time(), level, name_, message, hint);
    if (log_fd_ >= 0) write_all(log_fd_, line);
    if (log_fd_ < 0 || level == LogLevel::kError) write_to_stderr(level, line, wait);
    return;
  }
  if (log_fd_ >= 0) write_all(log_fd_, text_message(current_time(), level, message, hint));
  if (log_fd_ >= 0 && level != LogLevel::kError) return;
  const std::string text = text_message({}, level, message, hint);
  write_to_stderr(level, raw_ ? with_carriage_returns(text) : text, wait);
}

}  // namespace uvmm::command
