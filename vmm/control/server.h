// SPDX-License-Identifier: Apache-2.0
// Server: the thread that serves the control socket. Its clients are this process's user and root; nothing
// that they do can hold up the VM, and what they can make this process keep is bounded.
#pragma once

#include <pthread.h>

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <uvmm/error.hpp>

#include "vmm/base/fd.h"
#include "vmm/control/connection.h"
#include "vmm/control/event_log.h"
#include "vmm/control/router.h"
#include "vmm/control/target.h"

namespace uvmm::control {

class Server {
 public:
  static constexpr std::size_t kMostClients = 64;

  // Serves who connects to `listener`, a listening socket. It, `target` and `events` outlive the server.
  static Result<std::unique_ptr<Server>> start(int listener, Target& target, const EventLog& events,
                                               const Patience& patience = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();  // as finish(), for nobody

  // The VM has come to its end. Returns once all clients who wait for that have been told, which they have a
  // second for, and the others are gone. The thread has ended then.
  void finish(const Response& ended);

 private:
  Server(int listener, Target& target, const EventLog& events, const Patience& patience);
  void run();
  void turn();
  int poll_timeout(Time now) const;
  void accept_clients(Time now);
  bool make_room();
  void take_end(Time now);

  const int listener_;
  Router router_;
  const EventLog& events_;
  const Patience patience_;
  Fd wake_;
  pthread_t thread_{};
  bool joinable_ = false;

  std::vector<std::unique_ptr<Connection>> connections_;
  Time accept_after_{};                 // the host had no descriptor for a client
  std::optional<Time> last_words_end_;  // once the VM has ended

  std::mutex mutex_;
  std::optional<Response> ended_;
};

}  // namespace uvmm::control
