// SPDX-License-Identifier: Apache-2.0
// VmTarget: the Vm of this process as the control socket has it. Control thread, but where noted.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include <uvmm/uvmm.hpp>

#include "vmm/command/messages.h"
#include "vmm/command/settings.h"
#include "vmm/control/target.h"

namespace uvmm::control {

class VmTarget final : public Target {
 public:
  // All three outlive it.
  VmTarget(Vm& vm, const command::Settings& settings, command::Messages& messages)
      : vm_(vm), settings_(settings), messages_(messages), balloon_bytes_(settings.config.balloon.bytes) {}

  // Whether a client has reset the VM. Any thread.
  bool was_reset() const { return was_reset_; }

  State state() const override { return vm_.state(); }
  nlohmann::ordered_json describe() const override;
  Result<std::string> config_json() const override;

  void pause() override { vm_.pause(); }
  void resume() override { vm_.resume(); }
  void shut_down(std::optional<std::chrono::milliseconds> deadline) override { vm_.shut_down(deadline); }
  void stop() override { vm_.stop(); }
  void reboot() override;

  std::optional<Balloon> balloon() const override;
  void set_balloon(std::uint64_t bytes) override;

  Result<std::uint64_t> resize_disk(std::size_t index) override { return vm_.resize_disk(index); }
  Result<void> plug_in_net(std::size_t index, bool plugged_in) override {
    return vm_.plug_in_net(index, plugged_in);
  }

  bool has_console() const override { return settings_.config.console.kind != ConsoleConfig::Kind::kOff; }
  Result<void> attach_console(Fd client) override { return vm_.attach_console(client.release()); }

  LogLevel log_level() const override { return messages_.level(); }
  void set_log_level(LogLevel level) override;

  Statistics statistics() const override { return vm_.statistics(); }

 private:
  Vm& vm_;
  const command::Settings& settings_;
  command::Messages& messages_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::uint64_t balloon_bytes_;
  std::atomic<bool> was_reset_ = false;
};

}  // namespace uvmm::control
