// SPDX-License-Identifier: Apache-2.0
// Descriptors that a service manager has passed on (sd_listen_fds(3)). Main thread.
#pragma once

#include <optional>
#include <string_view>

namespace uvmm::control {

// The first one of that name, if this process was given one.
std::optional<int> passed_fd(std::string_view name);

}  // namespace uvmm::control
