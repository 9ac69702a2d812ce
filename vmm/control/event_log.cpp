// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/event_log.h"

#include <sys/eventfd.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "vmm/command/messages.h"

namespace uvmm::control {
namespace {

std::string_view name_of(Event::Kind kind) {
  switch (kind) {
    case Event::Kind::kStarted:
      return "started";
    case Event::Kind::kPaused:
      return "paused";
    case Event::Kind::kResumed:
      return "resumed";
    case Event::Kind::kShutdownRequested:
      return "shutdown-requested";
    case Event::Kind::kGuestPanic:
      return "guest-panic";
    case Event::Kind::kDeviceError:
      return "device-error";
    case Event::Kind::kHelperDied:
      return "helper-died";
    case Event::Kind::kEnded:
      break;
  }
  return "stopped";
}

}  // namespace

std::string_view reason(End end) {
  switch (end) {
    case End::kPowerOff:
      return "power-off";
    case End::kReboot:
      return "reboot";
    case End::kPanic:
      return "panic";
    case End::kTripleFault:
      return "triple-fault";
    case End::kInternalError:
      return "internal-error";
    case End::kStopped:
      break;
  }
  return "stopped";
}

EventLog::EventLog() : added_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void EventLog::add(const Event& event) {
  nlohmann::ordered_json line = {
      {"seq", 0}, {"time", command::current_time()}, {"event", name_of(event.kind)}};
  if (event.kind == Event::Kind::kEnded) line["reason"] = reason(event.end);
  if (!event.subject.empty()) line["device"] = event.subject;
  if (!event.detail.empty()) line["detail"] = event.detail;
  {
    const std::lock_guard lock(mutex_);
    line["seq"] = ++last_;
    lines_.push_back(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n');
    if (lines_.size() > kMost) lines_.pop_front();
  }
  ::eventfd_write(added_.get(), 1);
}

std::uint64_t EventLog::read(std::uint64_t seen, std::size_t most, std::string& text) const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t before_first = last_ - lines_.size();
  std::uint64_t next = std::max(seen, before_first);
  while (next < last_ && text.size() < most) text += lines_[next++ - before_first];
  return next;
}

}  // namespace uvmm::control
