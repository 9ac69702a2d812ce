// SPDX-License-Identifier: Apache-2.0
// The credentials that a service manager gave this process (systemd.exec(5), LoadCredential=), to be passed
// on to the guest. Main thread.
#pragma once

#include <vector>

#include <uvmm/uvmm.hpp>

namespace uvmm::command {

// Adds every file of $CREDENTIALS_DIRECTORY, if that is set, whose name `credentials` does not have yet.
void add_own_credentials(std::vector<CredentialConfig>& credentials);

}  // namespace uvmm::command
