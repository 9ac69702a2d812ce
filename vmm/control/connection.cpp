// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/connection.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace uvmm::control {
namespace {

constexpr std::size_t kReadBytes = 16 << 10;
constexpr std::size_t kMostUnsent = 64 << 10;  // then nothing more is done for the client

}  // namespace

Connection::Connection(Fd fd, Router& router, const EventLog& events, const Patience& patience, Time now)
    : fd_(std::move(fd)),
      router_(router),
      events_(events),
      patience_(patience),
      request_start_(now),
      last_active_(now) {}

bool Connection::is_idle() const {
  return phase_ == Phase::kRequests && output_.empty() && input_.empty() && !parser_.started();
}

pollfd Connection::wanted() const {
  short events = 0;
  if (phase_ == Phase::kRequests && !input_ended_ && output_.size() < kMostUnsent) events |= POLLIN;
  if (!output_.empty()) events |= POLLOUT;
  return {.fd = fd_.get(), .events = events, .revents = 0};
}

void Connection::ready(short events, Time now) {
  if (events & POLLIN) {
    read(now);
    serve_requests(now);
  } else if (events & (POLLHUP | POLLERR)) {
    return fd_.reset();
  }
  flush(now);
}

void Connection::read(Time now) {
  char buffer[kReadBytes];
  const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) return fd_.reset();
  if (got == 0) input_ended_ = true;
  if (is_idle()) request_start_ = now;
  last_active_ = now;
  input_.append(buffer, static_cast<std::size_t>(got));
}

void Connection::serve_requests(Time now) {
  while (fd_ && phase_ == Phase::kRequests && output_.size() < kMostUnsent) {
    input_.erase(0, parser_.feed(input_));
    if (const auto& refusal = parser_.refusal()) return refuse(*refusal, now);
    if (!parser_.done()) break;
    serve(parser_.take());
    request_start_ = now;
  }
  if (phase_ == Phase::kRequests && input_ended_ && output_.size() < kMostUnsent) phase_ = Phase::kLastWords;
}

void Connection::serve(const Request& request) {
  const Reply reply = router_.handle(request);
  keep_alive_ = request.keep_alive;
  switch (reply.then) {
    case Reply::Then::kAnswer:
      output_ += serialise(reply.response, keep_alive_);
      if (!keep_alive_) phase_ = Phase::kLastWords;
      return;
    case Reply::Then::kAwaitEnd:
      phase_ = Phase::kAwaitsEnd;
      return;
    case Reply::Then::kStreamEvents:
      output_ += serialise_head(reply.response);
      phase_ = Phase::kStreams;
      seen_ = reply.seen;
      return add_events();
    case Reply::Then::kConsole:
      output_ += serialise_head(reply.response);
      phase_ = Phase::kConsole;
  }
}

void Connection::add_events() {
  if (phase_ == Phase::kStreams) seen_ = events_.read(seen_, kMostUnsent, output_);
}

void Connection::events_added(Time now) {
  if (phase_ != Phase::kStreams) return;
  add_events();
  flush(now);
}

void Connection::flush(Time now) {
  while (fd_ && !output_.empty()) {
    const ssize_t sent = ::send(fd_.get(), output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent < 0) return fd_.reset();
    output_.erase(0, static_cast<std::size_t>(sent));
    last_active_ = now;
    if (!output_.empty()) continue;
    add_events();  // that were too many for one time
    serve_requests(now);
  }
  if (!fd_ || !output_.empty()) return;
  if (phase_ == Phase::kLastWords) fd_.reset();
  if (phase_ == Phase::kConsole) router_.attach_console(std::move(fd_));
}

Time Connection::deadline() const {
  if (!output_.empty()) return last_active_ + patience_.request;
  if (phase_ != Phase::kRequests) return Time::max();
  return is_idle() ? last_active_ + patience_.idle : request_start_ + patience_.request;
}

void Connection::deadline_passed() {
  if (output_.empty() && !is_idle()) refuse(problem(408, "the request did not come in time"), last_active_);
  fd_.reset();
}

void Connection::refuse(const Response& response, Time now) {
  output_ += serialise(response, false);
  phase_ = Phase::kLastWords;
  flush(now);
}

void Connection::vm_ended(const Response& ended, Time now) {
  add_events();
  if (phase_ == Phase::kAwaitsEnd) output_ += serialise(ended, false);
  phase_ = Phase::kLastWords;
  flush(now);
}

}  // namespace uvmm::control
