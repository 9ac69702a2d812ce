// SPDX-License-Identifier: Apache-2.0
// FakeTarget: a VM for the control socket that only remembers what was asked of it. One thread at a time.
#pragma once

#include <condition_variable>
#include <mutex>
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
  std::optional<Error> refuses;  // a resize

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

  Result<std::uint64_t> resize_disk(std::size_t index) override {
    if (index > 0) return std::unexpected(Error{ErrorKind::kNoInput, "there is no disk 1", {}});
    if (refuses) return std::unexpected(*refuses);
    calls.emplace_back("resize disk");
    return 4096;
  }
  Result<void> plug_in_net(std::size_t index, bool plugged_in) override {
    if (index > 0) return std::unexpected(Error{ErrorKind::kNoInput, "there is no network device 1", {}});
    calls.emplace_back(plugged_in ? "plug in net" : "unplug net");
    return {};
  }

  bool console = true;
  bool has_console() const override { return console; }
  Result<void> attach_console(Fd client) override {
    const std::lock_guard lock(viewer_mutex_);
    viewer_ = std::move(client);
    viewer_came_.notify_one();
    return {};
  }
  // The next one, which is waited for.
  Fd take_viewer() {
    std::unique_lock lock(viewer_mutex_);
    viewer_came_.wait(lock, [this] { return static_cast<bool>(viewer_); });
    return std::move(viewer_);
  }

  LogLevel log_level() const override { return level; }
  void set_log_level(LogLevel wanted) override { level = wanted; }

  Statistics statistics() const override { return counted; }

 private:
  std::mutex viewer_mutex_;
  std::condition_variable viewer_came_;
  Fd viewer_;
};

}  // namespace uvmm::control
