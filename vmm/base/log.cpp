// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/log.h"

#include <ctime>

namespace uvmm {
namespace {

constexpr u32 kGuestMessagesPerSecond = 5;

i64 monotonic_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec;
}

}  // namespace

void Log::write(LogLevel level, fmt::string_view format, fmt::format_args args) {
  if (!enabled(level)) return;
  const std::string line = fmt::vformat(format, args);
  const std::lock_guard lock(mutex_);
  sink_(level, line);
}

void Log::event(const Event& event) {
  if (!events_) return;
  const std::lock_guard lock(events_mutex_);
  events_(event);
}

void Log::tell(LogLevel level, Event::Kind kind, std::string_view subject, fmt::string_view format,
               fmt::format_args args) {
  if (!enabled(level) && !events_) return;
  const std::string detail = fmt::vformat(format, args);
  write(level, "{}: {}", fmt::make_format_args(subject, detail));
  event({.kind = kind, .subject = subject, .detail = detail});
}

bool Log::admit_guest_message() {
  const std::lock_guard lock(mutex_);
  const i64 now = monotonic_seconds();
  if (now != guest_window_start_s_) {
    guest_window_start_s_ = now;
    guest_messages_in_window_ = 0;
    if (guest_messages_dropped_ > 0 && enabled(LogLevel::kWarning)) {
      sink_(LogLevel::kWarning,
            fmt::format("{} more messages about the guest were dropped", guest_messages_dropped_));
      guest_messages_dropped_ = 0;
    }
  }
  if (guest_messages_in_window_ < kGuestMessagesPerSecond) {
    ++guest_messages_in_window_;
    return true;
  }
  ++guest_messages_dropped_;
  return false;
}

}  // namespace uvmm
