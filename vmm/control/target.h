// SPDX-License-Identifier: Apache-2.0
// Target: what the control socket does to a VM, so that its routes can be tested without one. Its functions
// are called by the control thread, and may wait for vCPUs but for nothing that a guest could hold up.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <uvmm/uvmm.hpp>

#include "vmm/base/fd.h"

namespace uvmm::control {

class Target {
 public:
  virtual ~Target() = default;

  virtual State state() const = 0;
  // What GET /v1/vm says beside the state.
  virtual nlohmann::ordered_json describe() const = 0;
  virtual Result<std::string> config_json() const = 0;

  virtual void pause() = 0;
  virtual void resume() = 0;
  virtual void shut_down(std::optional<std::chrono::milliseconds> deadline) = 0;
  virtual void stop() = 0;
  virtual void reboot() = 0;

  struct Balloon {
    std::uint64_t target = 0;  // bytes
    std::uint64_t actual = 0;
    std::uint64_t memory = 0;  // the guest's RAM
    MemoryStatistics guest;    // what it says of it
  };
  virtual std::optional<Balloon> balloon() const = 0;  // nothing: there is none
  virtual void set_balloon(std::uint64_t bytes) = 0;

  // By number, as in describe().
  virtual Result<std::uint64_t> resize_disk(std::size_t index) = 0;
  virtual Result<void> plug_in_net(std::size_t index, bool plugged_in) = 0;

  virtual bool has_console() const = 0;
  virtual Result<void> attach_console(Fd client) = 0;

  virtual LogLevel log_level() const = 0;
  virtual void set_log_level(LogLevel level) = 0;

  virtual Statistics statistics() const = 0;
};

}  // namespace uvmm::control
