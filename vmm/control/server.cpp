// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/server.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "vmm/command/failure.h"
#include "vmm/command/thread.h"

namespace uvmm::control {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kStackBytes = 512 << 10;
constexpr auto kPause = 100ms;   // where the host has no descriptor for a client
constexpr auto kLastWords = 1s;  // for those who wait for the VM's end
constexpr int kAtATime = 16;     // clients that are accepted before the others have their turn

bool may_control(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return false;
  return peer.uid == ::geteuid() || peer.uid == 0;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::start(int listener, Target& target, const EventLog& events,
                                              const Patience& patience) {
  std::unique_ptr<Server> server(new Server(listener, target, events, patience));
  if (!server->wake_ || events.added_fd() < 0)
    return command::fail(ErrorKind::kHost, "cannot create an eventfd: {}", command::error_text(errno));
  const auto main = [](void* self) -> void* {
    static_cast<Server*>(self)->run();
    return nullptr;
  };
  const Result<pthread_t> thread = command::start_thread(kStackBytes, main, server.get());
  if (!thread) return std::unexpected(thread.error());
  server->thread_ = *thread;
  server->joinable_ = true;
  ::pthread_setname_np(server->thread_, "control");
  return server;
}

Server::Server(int listener, Target& target, const EventLog& events, const Patience& patience)
    : listener_(listener),
      router_(target),
      events_(events),
      patience_(patience),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Server::~Server() {
  finish({});
}

void Server::finish(const Response& ended) {
  if (!std::exchange(joinable_, false)) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = ended;
  }
  ::eventfd_write(wake_.get(), 1);
  ::pthread_join(thread_, nullptr);
}

void Server::run() {
  while (!last_words_end_ || (!connections_.empty() && std::chrono::steady_clock::now() < *last_words_end_))
    turn();
}

// Waits for something to happen, and does what it asks for.
void Server::turn() {
  Time now = std::chrono::steady_clock::now();
  const bool accepting = !last_words_end_ && now >= accept_after_;
  std::vector<pollfd> wanted = {
      {wake_.get(), POLLIN, 0}, {events_.added_fd(), POLLIN, 0}, {accepting ? listener_ : -1, POLLIN, 0}};
  const std::size_t first_client = wanted.size();
  for (const auto& connection : connections_) wanted.push_back(connection->wanted());
  if (::poll(wanted.data(), wanted.size(), poll_timeout(now)) < 0) return;  // a signal

  now = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < connections_.size(); ++i) {
    if (const short events = wanted[first_client + i].revents) connections_[i]->ready(events, now);
  }
  eventfd_t count = 0;
  if (wanted[1].revents != 0 && ::eventfd_read(events_.added_fd(), &count) == 0) {
    for (const auto& connection : connections_) connection->events_added(now);
  }
  for (const auto& connection : connections_) {
    if (connection->is_open() && connection->deadline() <= now) connection->deadline_passed();
  }
  if (wanted[0].revents != 0) take_end(now);
  std::erase_if(connections_, [](const auto& connection) { return !connection->is_open(); });
  if (wanted[2].revents != 0) accept_clients(now);
}

int Server::poll_timeout(Time now) const {
  Time next = last_words_end_.value_or(Time::max());
  if (accept_after_ > now) next = std::min(next, accept_after_);
  for (const auto& connection : connections_) next = std::min(next, connection->deadline());
  if (next == Time::max()) return -1;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now);
  return static_cast<int>(std::clamp<std::int64_t>(wait.count(), 0, 60'000));
}

void Server::accept_clients(Time now) {
  for (int i = 0; i < kAtATime; ++i) {
    Fd fd(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) accept_after_ = now + kPause;
    if (!fd) return;
    const bool allowed = may_control(fd.get());
    Connection client(std::move(fd), router_, events_, patience_, now);
    if (!allowed) {
      client.refuse(problem(403, "the VM is another user's"), now);
    } else if (!make_room()) {
      client.refuse(problem(503, "there are too many clients", "close some of them, or try again"), now);
    } else {
      connections_.push_back(std::make_unique<Connection>(std::move(client)));
    }
  }
}

// Where there are too many clients, the one goes that has been idle longest.
bool Server::make_room() {
  if (connections_.size() < kMostClients) return true;
  auto oldest = connections_.end();
  for (auto at = connections_.begin(); at != connections_.end(); ++at) {
    if (!(*at)->is_idle()) continue;
    if (oldest == connections_.end() || (*at)->last_active() < (*oldest)->last_active()) oldest = at;
  }
  if (oldest == connections_.end()) return false;
  connections_.erase(oldest);
  return true;
}

void Server::take_end(Time now) {
  const std::lock_guard lock(mutex_);
  if (!ended_ || last_words_end_) return;
  last_words_end_ = now + kLastWords;
  for (const auto& connection : connections_) connection->vm_ended(*ended_, now);
}

}  // namespace uvmm::control
