// SPDX-License-Identifier: Apache-2.0
// Credentials for the guest's service manager, as the strings that systemd looks for in SMBIOS type 11
// (systemd.system-credentials(7)). Before the guest runs; any one thread.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "vmm/base/result.h"

namespace uvmm {

// One string each: "io.systemd.credential.binary:ID=BASE64", which takes any value.
Result<std::vector<std::string>> read_credentials(std::span<const CredentialConfig> credentials);

}  // namespace uvmm
