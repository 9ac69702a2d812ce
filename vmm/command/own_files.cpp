// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/own_files.h"

#include <string>
#include <vector>

#include "vmm/base/place.h"
#include "vmm/command/failure.h"
#include "vmm/control/paths.h"

namespace uvmm::command {
namespace {

struct OwnFile {
  const char* option;
  std::string path;  // may be empty
};

std::string control_path(const Settings& settings) {
  if (settings.control.kind == ControlChoice::Kind::kPath) return settings.control.path;
  if (settings.control.kind != ControlChoice::Kind::kAuto) return {};
  return control::socket_path(settings.config.name).value_or(std::string());
}

}  // namespace

Result<void> check_own_files(const Settings& settings) {
  if (settings.config.shares.empty()) return {};
  const std::vector<OwnFile> files = {{"--config", settings.config_file},
                                      {"--log-file", settings.log_file},
                                      {"--pidfile", settings.pidfile},
                                      {"--control", control_path(settings)}};
  for (const ShareConfig& share : settings.config.shares) {
    const std::string directory = real_path(share.path);
    if (share.read_only || directory.empty()) continue;
    for (const OwnFile& file : files) {
      if (!lies_in(real_place(file.path), directory)) continue;
      return with_hint(fail(ErrorKind::kBadData, "--share {}: {} {} is in it", quote(share.path), file.option,
                            quote(file.path)),
                       "share another directory, or add `ro`");
    }
  }
  return {};
}

}  // namespace uvmm::command
