// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/dry_run.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "vmm/command/failure.h"

namespace uvmm::command {
namespace {

// 0, or the errno value that opening `path` for output would give, if it is to be created where it is not.
int output_error(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd >= 0) {
    ::close(fd);
    return 0;
  }
  if (errno != ENOENT) return errno;
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == path.npos ? "." : path.substr(0, slash + 1);
  return ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

Result<void> check_output(const char* option, const std::string& path) {
  const int error = output_error(path);
  if (error == 0) return {};
  return fail(ErrorKind::kCannotCreate, "{} {}: {}", option, quote(path), error_text(error));
}

}  // namespace

Result<void> prepare_dry_run(Settings& settings) {
  Config& config = settings.config;
  config.memory.prefault = false;
  config.kernel_cache = false;
  if (!settings.log_file.empty()) {
    if (Result<void> checked = check_output("--log-file", settings.log_file); !checked) return checked;
    settings.log_file.clear();
  }
  if (config.console.kind != ConsoleConfig::Kind::kFile) return {};

  // What check() has to say about the path, it has to say now.
  if (Result<void> checked = check(config); !checked) return checked;
  if (Result<void> checked = check_output("--console file", config.console.path); !checked) return checked;
  config.console = {.kind = ConsoleConfig::Kind::kStreams, .output_fd = STDOUT_FILENO};
  return {};
}

}  // namespace uvmm::command
