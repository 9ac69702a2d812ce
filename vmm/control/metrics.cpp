// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/metrics.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace uvmm::control {
namespace {

using nlohmann::ordered_json;

struct Exit {
  std::string_view reason;
  std::uint64_t ExitCounts::* count;
};
constexpr Exit kExits[] = {
    {"io_in", &ExitCounts::io_in},         {"io_out", &ExitCounts::io_out},
    {"mmio_read", &ExitCounts::mmio_read}, {"mmio_write", &ExitCounts::mmio_write},
    {"other", &ExitCounts::other},
};

struct QueueCount {
  std::string_view name;
  std::string_view help;
  std::uint64_t QueueStatistics::* count;
};
constexpr QueueCount kQueueCounts[] = {
    {"requests", "Requests that the device has ended", &QueueStatistics::requests},
    {"bytes_from_guest", "Bytes that requests brought, headers included", &QueueStatistics::bytes_from_guest},
    {"bytes_to_guest", "Bytes that the device wrote into their buffers", &QueueStatistics::bytes_to_guest},
    {"notifications", "Notifications from the guest", &QueueStatistics::notifications},
    {"interrupts", "Interrupts to the guest", &QueueStatistics::interrupts},
};

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

void start_family(std::string& text, std::string_view name, std::string_view type, std::string_view help) {
  text += fmt::format("# HELP uvmm_{0} {1}\n# TYPE uvmm_{0} {2}\n", name, help, type);
}

// A label's value, in which the format escapes three characters.
std::string label(std::string_view value) {
  std::string escaped;
  for (const char byte : value) {
    if (byte == '\\' || byte == '"') escaped += '\\';
    if (byte == '\n')
      escaped += "\\n";
    else
      escaped += byte;
  }
  return escaped;
}

}  // namespace

std::string metrics_text(const Statistics& statistics) {
  std::string text;
  start_family(text, "vcpu_exits_total", "counter", "Exits to user space");
  for (std::size_t i = 0; i < statistics.vcpus.size(); ++i) {
    for (const Exit& exit : kExits) {
      text += fmt::format("uvmm_vcpu_exits_total{{vcpu=\"{}\",reason=\"{}\"}} {}\n", i, exit.reason,
                          statistics.vcpus[i].exits.*exit.count);
    }
  }
  start_family(text, "vcpu_cpu_seconds_total", "counter", "Time of the vCPU's thread, the guest's included");
  for (std::size_t i = 0; i < statistics.vcpus.size(); ++i) {
    text += fmt::format("uvmm_vcpu_cpu_seconds_total{{vcpu=\"{}\"}} {:.6f}\n", i,
                        seconds(statistics.vcpus[i].cpu_time));
  }
  start_family(text, "device_errors_total", "counter", "Requests that failed, frames lost, rules broken");
  for (const DeviceStatistics& device : statistics.devices)
    text += fmt::format("uvmm_device_errors_total{{device=\"{}\"}} {}\n", label(device.name), device.errors);
  for (const QueueCount& kind : kQueueCounts) {
    start_family(text, fmt::format("queue_{}_total", kind.name), "counter", kind.help);
    for (const DeviceStatistics& device : statistics.devices) {
      for (std::size_t i = 0; i < device.queues.size(); ++i) {
        text += fmt::format("uvmm_queue_{}_total{{device=\"{}\",queue=\"{}\"}} {}\n", kind.name,
                            label(device.name), i, device.queues[i].*kind.count);
      }
    }
  }
  start_family(text, "balloon_bytes", "gauge", "Memory that the guest does without");
  return text + fmt::format("uvmm_balloon_bytes {}\n", statistics.balloon_bytes);
}

ordered_json metrics_json(const Statistics& statistics) {
  ordered_json vcpus = ordered_json::array();
  for (const VcpuStatistics& vcpu : statistics.vcpus) {
    ordered_json exits;
    for (const Exit& exit : kExits) exits[std::string(exit.reason)] = vcpu.exits.*exit.count;
    vcpus.push_back({{"cpu_seconds", seconds(vcpu.cpu_time)}, {"exits", std::move(exits)}});
  }
  ordered_json devices = ordered_json::array();
  for (const DeviceStatistics& device : statistics.devices) {
    ordered_json queues = ordered_json::array();
    for (const QueueStatistics& queue : device.queues) {
      ordered_json counts;
      for (const QueueCount& kind : kQueueCounts) counts[std::string(kind.name)] = queue.*kind.count;
      queues.push_back(std::move(counts));
    }
    devices.push_back({{"name", device.name},
                       {"virtio_id", device.virtio_id},
                       {"errors", device.errors},
                       {"queues", std::move(queues)}});
  }
  return {{"vcpus", std::move(vcpus)},
          {"devices", std::move(devices)},
          {"balloon_bytes", statistics.balloon_bytes}};
}

}  // namespace uvmm::control
