// SPDX-License-Identifier: Apache-2.0
// FakeTarget: a VM for the control socket that only remembers what was asked of it. One thread at a time.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "vmm/control/target.h"

namespace uvmm::control {

class FakeTarget final : public Target {
 public:
  std::vector<std::string> calls;  // in their order
  State current = State::kRunning;
  std::optional<Balloon> memory = Balloon{.target = 0, .actual = 4096, .memory = 512 << 20};
  LogLevel level = LogLevel::kWarning;
  Statistics counted;

  State state() const override { return current; }
  nlohmann::ordered_json describe() const override {
    return {{"name", "fake"},
            {"pid", 1},
            {"uptime_s", 1.5},
            {"cpus", 1},
            {"memory_bytes", 1024},
            {"cmdline", ""},
            {"disks", nlohmann::ordered_json::array()},
            {"nets", nlohmann::ordered_json::array()},
            {"shares", nlohmann::ordered_json::array()}};
  }
  Result<std::string> config_json() const override { return "{}\n"; }

  void pause() override {
    calls.emplace_back("pause");
    current = State::kPaused;
  }
  void resume() override {
    calls.emplace_back("resume");
    current = State::kRunning;
  }
  void shut_down(std::optional<std::chrono::milliseconds> deadline) override {
    calls.push_back(deadline ? "shut down in " + std::to_string(deadline->count()) : "shut down");
  }
  void stop() override { calls.emplace_back("stop"); }
  void reboot() override { calls.emplace_back("reboot"); }

  std::optional<Balloon> balloon() const override { return memory; }
  void set_balloon(std::uint64_t bytes) override {
    calls.push_back("balloon " + std::to_string(bytes));
    memory->target = bytes;
  }

  LogLevel log_level() const override { return level; }
  void set_log_level(LogLevel wanted) override { level = wanted; }

  Statistics statistics() const override { return counted; }
};

}  // namespace uvmm::control
