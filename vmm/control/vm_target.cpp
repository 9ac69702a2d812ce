// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/vm_target.h"

#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/command/print_config.h"
#include "vmm/command/values.h"

namespace uvmm::control {

using nlohmann::ordered_json;

ordered_json VmTarget::describe() const {
  const Config& config = settings_.config;
  const std::chrono::duration<double> uptime = std::chrono::steady_clock::now() - start_;
  ordered_json json = {{"name", config.name},
                       {"pid", ::getpid()},
                       {"uptime_s", uptime.count()},
                       {"cpus", config.cpus},
                       {"memory_bytes", config.memory.bytes},
                       {"cmdline", vm_.cmdline()},
                       {"disks", ordered_json::array()},
                       {"nets", ordered_json::array()},
                       {"shares", ordered_json::array()}};
  if (!config.uuid.empty()) json["uuid"] = config.uuid;
  if (config.vsock) json["vsock"] = {{"cid", config.vsock->cid}, {"path", config.vsock->path}};
  for (const DiskConfig& disk : config.disks)
    json["disks"].push_back({{"id", fmt::format("disk{}", json["disks"].size())}, {"path", disk.path}});
  for (const NetConfig& net : config.nets) {
    json["nets"].push_back({{"id", fmt::format("net{}", json["nets"].size())},
                            {"kind", ordered_json::parse(command::NetKind::print(net))}});
  }
  for (const ShareConfig& share : config.shares)
    json["shares"].push_back({{"id", fmt::format("share{}", json["shares"].size())}, {"path", share.path}});
  return json;
}

Result<std::string> VmTarget::config_json() const {
  return command::print_config_json(settings_);
}

void VmTarget::reboot() {
  was_reset_ = true;
  vm_.stop();
}

std::optional<Target::Balloon> VmTarget::balloon() const {
  if (!settings_.config.balloon.enabled) return std::nullopt;
  return Balloon{.target = balloon_bytes_,
                 .actual = vm_.balloon_bytes(),
                 .memory = settings_.config.memory.bytes,
                 .guest = vm_.memory_statistics()};
}

void VmTarget::set_balloon(std::uint64_t bytes) {
  balloon_bytes_ = bytes;
  vm_.set_balloon(bytes);
}

void VmTarget::set_log_level(LogLevel level) {
  messages_.set_level(level);
  vm_.set_log_level(level);
}

}  // namespace uvmm::control
