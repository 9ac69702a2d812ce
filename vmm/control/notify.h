// SPDX-License-Identifier: Apache-2.0
// sd_notify(3): what this process's service manager is told, and by whom. A service manager that waits for
// that (Type=notify) has set $NOTIFY_SOCKET.
//
// Ready is what the guest says is ready: systemd in the guest is given the credential vmm.notify_socket, the
// address of a port of the host (systemd.system-credentials(7)), and what it says there is passed on.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <uvmm/uvmm.hpp>

#include "devices/unix_listener.h"
#include "vmm/base/fd.h"

namespace uvmm::control {

// Sends `state` to the service manager, if there is one. Any thread.
void notify_manager(const std::string& socket, std::string_view state);

// Of what a guest has sent, the lines that are for the service manager.
std::string for_manager(std::string_view from_guest);
// The exit status that it says it has come to, if it does: EXIT_STATUS=N, with N from 0 to 255.
std::optional<int> exit_status_of(std::string_view from_guest);

class GuestNotify {
 public:
  static constexpr std::uint32_t kPort = 8889;  // of the host, as the guest has it

  // Listens for the guest, and adds to `config` what it needs to speak: the credential, and a socket device
  // with CID 3 if there is none. Nothing where nobody wants to know, or the user has made the credential.
  static Result<std::unique_ptr<GuestNotify>> prepare(Config& config);
  GuestNotify(const GuestNotify&) = delete;
  GuestNotify& operator=(const GuestNotify&) = delete;
  ~GuestNotify();

  // Begins to listen to the guest, on a thread of its own that lives as long as the process.
  Result<void> start();
  // The VM is on its way out, or has ended.
  void stopping();
  // What the guest's systemd was told to end with: `systemctl exit N`; 0 otherwise. Any thread.
  int exit_status() const { return exit_status_; }
  // Takes away what prepare() has made.
  void remove();

 private:
  GuestNotify(std::string manager, std::string directory, UnixListener listener, Fd credential);
  void listen();
  void hear(std::string_view text);

  const std::string manager_;
  std::string directory_;  // of its own; may be empty
  UnixListener listener_;
  Fd credential_;  // a file in memory
  std::atomic<int> exit_status_ = 0;
};

}  // namespace uvmm::control
