// SPDX-License-Identifier: Apache-2.0
// Connection: one client of the control socket. Control thread. It never waits: poll() tells it what it can
// do, and what it keeps for a client is bounded.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "vmm/base/fd.h"
#include "vmm/control/event_log.h"
#include "vmm/control/http.h"
#include "vmm/control/router.h"

namespace uvmm::control {

using Time = std::chrono::steady_clock::time_point;

// How patient the server is.
struct Patience {
  std::chrono::milliseconds request{10'000};  // from a request's first byte to its last, and for each write
  std::chrono::milliseconds idle{60'000};     // between requests
};

class Connection {
 public:
  Connection(Fd fd, Router& router, const EventLog& events, const Patience& patience, Time now);

  bool is_open() const { return static_cast<bool>(fd_); }
  // Between two requests, so that closing it is no harm.
  bool is_idle() const;
  Time last_active() const { return last_active_; }

  pollfd wanted() const;
  void ready(short events, Time now);
  void events_added(Time now);
  // When something has to have happened; Time::max() for never.
  Time deadline() const;
  void deadline_passed();
  // Answers what comes next with `response`, and closes.
  void refuse(const Response& response, Time now);
  // The VM has come to its end; `ended` is for who waits for it.
  void vm_ended(const Response& ended, Time now);

 private:
  enum class Phase : std::uint8_t { kRequests, kAwaitsEnd, kStreams, kConsole, kLastWords };

  void read(Time now);
  void serve_requests(Time now);
  void serve(const Request& request);
  void add_events();
  void flush(Time now);

  Fd fd_;
  Router& router_;
  const EventLog& events_;
  const Patience patience_;
  Phase phase_ = Phase::kRequests;
  bool input_ended_ = false;
  std::string input_;  // what the parser has not taken yet
  RequestParser parser_;
  bool keep_alive_ = true;  // as the request that is being answered wants it
  std::string output_;
  std::uint64_t seen_ = 0;  // kStreams: the last event that was sent
  Time request_start_;
  Time last_active_;
};

}  // namespace uvmm::control
