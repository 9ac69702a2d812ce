// SPDX-License-Identifier: Apache-2.0
// EventLog: the last events of a VM as lines of JSON, numbered from 1. Any thread; bounded.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

#include <uvmm/uvmm.hpp>

#include "vmm/base/fd.h"

namespace uvmm::control {

class EventLog {
 public:
  static constexpr std::size_t kMost = 256;

  EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  void add(const Event& event);

  // Appends to `text` the lines that come after number `seen`, until it has `most` bytes or more. Returns the
  // number of the last one. Those that are no longer kept are a gap in the numbers.
  std::uint64_t read(std::uint64_t seen, std::size_t most, std::string& text) const;

  // An eventfd that is written to with each event.
  int added_fd() const { return added_.get(); }

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> lines_;
  std::uint64_t last_ = 0;
  Fd added_;
};

// "power-off", "panic": how a VM came to its end.
std::string_view reason(End end);

}  // namespace uvmm::control
