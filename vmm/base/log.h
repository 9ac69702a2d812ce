// SPDX-License-Identifier: Apache-2.0
// Log: where a VM's messages and events go. One per VM; any thread; outlives everything that holds a
// reference to it.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include <uvmm/monitor.hpp>

#include "vmm/base/types.h"

namespace uvmm {

class Log {
 public:
  Log() = default;  // discards everything
  Log(LogSink sink, LogLevel level, EventSink events = {})
      : sink_(std::move(sink)), level_(level), events_(std::move(events)) {}

  template <typename... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::kError, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::kWarning, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::kInfo, format, fmt::make_format_args(args...));
  }
  template <typename... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::kDebug, format, fmt::make_format_args(args...));
  }

  // A complaint about the guest, which can make as many as it likes: the first few of a second are written,
  // the rest only counted and summed up in one line later.
  template <typename... Args>
  void guest(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(LogLevel::kWarning) && admit_guest_message())
      write(LogLevel::kWarning, format, fmt::make_format_args(args...));
  }

  // What the embedder may want to act upon. With a message it is also a line, behind the subject's name.
  void event(const Event& event);
  void event(Event::Kind kind) { event(Event{.kind = kind}); }
  template <typename... Args>
  void event(Event::Kind kind, std::string_view subject, fmt::format_string<Args...> format, Args&&... args) {
    const LogLevel level = kind == Event::Kind::kDeviceError ? LogLevel::kError : LogLevel::kWarning;
    tell(level, kind, subject, format, fmt::make_format_args(args...));
  }
  // The same for what a guest can bring about as often as it likes.
  template <typename... Args>
  void guest_event(Event::Kind kind, std::string_view subject, fmt::format_string<Args...> format,
                   Args&&... args) {
    if ((enabled(LogLevel::kWarning) || events_) && admit_guest_message())
      tell(LogLevel::kWarning, kind, subject, format, fmt::make_format_args(args...));
  }

  void set_level(LogLevel level) { level_.store(level, std::memory_order_relaxed); }
  bool enabled(LogLevel level) const { return sink_ && level <= level_.load(std::memory_order_relaxed); }

 private:
  void write(LogLevel level, fmt::string_view format, fmt::format_args args);
  void tell(LogLevel level, Event::Kind kind, std::string_view subject, fmt::string_view format,
            fmt::format_args args);
  bool admit_guest_message();

  LogSink sink_;
  std::atomic<LogLevel> level_ = LogLevel::kWarning;
  EventSink events_;
  std::mutex events_mutex_;
  std::mutex mutex_;
  i64 guest_window_start_s_ = 0;
  u32 guest_messages_in_window_ = 0;
  u64 guest_messages_dropped_ = 0;
};

}  // namespace uvmm
