// SPDX-License-Identifier: Apache-2.0
// ControlSocket: the listening socket that --control names. Move-only; takes its path away at the end. Main
// thread.
#pragma once

#include <optional>
#include <string>

#include <uvmm/error.hpp>

#include "devices/unix_listener.h"
#include "vmm/base/fd.h"
#include "vmm/command/settings.h"

namespace uvmm::control {

class ControlSocket {
 public:
  // None for `off`. `vm` is the VM's name, for `auto`.
  static Result<std::optional<ControlSocket>> open(const command::ControlChoice& choice,
                                                   const std::string& vm);

  int fd() const { return listener_ ? listener_->fd() : inherited_.get(); }
  const std::string& path() const { return path_; }  // empty if it is inherited
  void remove_path() {
    if (listener_) listener_->remove_path();
  }

 private:
  explicit ControlSocket(Fd inherited) : inherited_(std::move(inherited)) {}
  ControlSocket(UnixListener listener, std::string path)
      : listener_(std::move(listener)), path_(std::move(path)) {}

  std::optional<UnixListener> listener_;
  Fd inherited_;
  std::string path_;
};

}  // namespace uvmm::control
