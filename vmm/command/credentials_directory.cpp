// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/credentials_directory.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace uvmm::command {

void add_own_credentials(std::vector<CredentialConfig>& credentials) {
  const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
  if (!directory || *directory == '\0') return;
  std::vector<CredentialConfig> own;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string id = entry.path().filename();
    if (std::ranges::find(credentials, id, &CredentialConfig::id) != credentials.end()) continue;
    own.push_back({.id = id, .path = entry.path()});
  }
  std::ranges::sort(own, {}, &CredentialConfig::id);
  credentials.insert(credentials.end(), own.begin(), own.end());
}

}  // namespace uvmm::command
