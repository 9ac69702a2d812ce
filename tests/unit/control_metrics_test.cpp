// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/metrics.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

namespace uvmm::control {
namespace {

using Catch::Matchers::Contains;

Statistics example() {
  Statistics statistics;
  statistics.vcpus.push_back(
      {.exits = {.io_in = 1, .other = 5}, .cpu_time = std::chrono::milliseconds(1500)});
  statistics.devices.push_back(
      {.name = "disk a\"b\\c\n", .virtio_id = 2, .errors = 3, .queues = {{.requests = 7}}});
  statistics.balloon_bytes = 4096;
  return statistics;
}

TEST_CASE("control metrics: counts are in Prometheus' format") {
  const std::string text = metrics_text(example());
  CHECK_THAT(text, Contains("# TYPE uvmm_vcpu_exits_total counter\n"));
  CHECK_THAT(text, Contains("uvmm_vcpu_exits_total{vcpu=\"0\",reason=\"other\"} 5\n"));
  CHECK_THAT(text, Contains("uvmm_vcpu_cpu_seconds_total{vcpu=\"0\"} 1.500000\n"));
  CHECK_THAT(text, Contains("uvmm_balloon_bytes 4096\n"));
}

TEST_CASE("control metrics: a device's name is a label, whatever is in it") {
  CHECK_THAT(metrics_text(example()),
             Contains("uvmm_device_errors_total{device=\"disk a\\\"b\\\\c\\n\"} 3\n"));
}

TEST_CASE("control metrics: each family is there once") {
  const std::string text = metrics_text(example());
  std::size_t families = 0;
  for (std::size_t at = text.find("# TYPE "); at != text.npos; at = text.find("# TYPE ", at + 1)) {
    const std::string line = text.substr(at, text.find('\n', at) - at);
    CHECK(text.find(line, at + 1) == text.npos);
    ++families;
  }
  CHECK(families == 9);
}

TEST_CASE("control metrics: the same as JSON") {
  const nlohmann::json json = metrics_json(example());
  CHECK(json["vcpus"][0]["exits"]["io_in"] == 1);
  CHECK(json["devices"][0]["queues"][0]["requests"] == 7);
  CHECK(json["balloon_bytes"] == 4096);
}

}  // namespace
}  // namespace uvmm::control
