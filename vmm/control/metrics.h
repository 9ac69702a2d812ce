// SPDX-License-Identifier: Apache-2.0
// What a VM has counted, in Prometheus' text format and as JSON. Pure functions.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include <uvmm/uvmm.hpp>

namespace uvmm::control {

std::string metrics_text(const Statistics& statistics);
nlohmann::ordered_json metrics_json(const Statistics& statistics);

}  // namespace uvmm::control
