// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/place.h"

#include <cstdlib>
#include <memory>

namespace uvmm {

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  return real ? real.get() : std::string();
}

std::string real_place(const std::string& path) {
  std::string real = real_path(path);
  if (!real.empty() || path.empty()) return real;
  const std::size_t slash = path.rfind('/');
  const std::string name = path.substr(slash + 1);  // which is 0 if there is none
  if (slash == path.npos) return real_path(".") + '/' + name;
  const std::string parent = slash == 0 ? "/" : real_place(path.substr(0, slash));
  return parent == "/" ? parent + name : parent + '/' + name;
}

bool lies_in(const std::string& place, const std::string& directory) {
  return place.size() > directory.size() && place.starts_with(directory) && place[directory.size()] == '/';
}

}  // namespace uvmm
