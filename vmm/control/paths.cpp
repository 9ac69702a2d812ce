// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/paths.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "vmm/command/failure.h"

namespace uvmm::control {
namespace {

constexpr std::string_view kSystemDirectory = "/run/uvmm";
constexpr std::string_view kSuffix = ".sock";

bool is_socket(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

std::string socket_directory() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime && runtime[0] == '/') return std::string(runtime) + "/uvmm";
  return std::string(kSystemDirectory);
}

Result<std::string> socket_path(std::string_view name) {
  const bool is_file_name =
      !name.empty() && !name.starts_with('.') && name.find('/') == name.npos && name.find('\0') == name.npos;
  if (!is_file_name) {
    return command::with_hint(
        command::fail(ErrorKind::kUsage, "\"{}\" is no name for a socket", command::quote(name)),
        "a name has no slash and does not begin with a dot");
  }
  return fmt::format("{}/{}{}", socket_directory(), name, kSuffix);
}

Result<std::string> find_socket(std::string_view name_or_path) {
  if (name_or_path.find('/') != name_or_path.npos) return std::string(name_or_path);
  Result<std::string> path = socket_path(name_or_path);
  if (!path || is_socket(*path)) return path;
  const std::string of_system = fmt::format("{}/{}{}", kSystemDirectory, name_or_path, kSuffix);
  return is_socket(of_system) ? of_system : path;
}

std::vector<std::string> all_sockets() {
  std::vector<std::string> directories = {socket_directory()};
  if (directories.front() != kSystemDirectory) directories.emplace_back(kSystemDirectory);
  std::vector<std::string> paths;
  for (const std::string& directory : directories) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
         at.increment(error)) {
      std::string path = at->path().string();
      if (path.ends_with(kSuffix) && is_socket(path)) paths.push_back(std::move(path));
    }
  }
  std::ranges::sort(paths);
  return paths;
}

}  // namespace uvmm::control
