// SPDX-License-Identifier: Apache-2.0
// From the configuration's shares to what the device takes. Any thread; nothing is kept.
#pragma once

#include <string>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "devices/fuse/server.h"
#include "devices/fuse/share.h"

namespace uvmm {

// What the guest mounts it by.
std::string share_tag(const ShareConfig& share);

// Opens them all, unless one would give the guest what this VM lives on.
Result<std::vector<fuse::Share>> open_shares(const Config& config);

// What each of the shares may take up of this process.
fuse::Limits share_limits(const Config& config);

}  // namespace uvmm
