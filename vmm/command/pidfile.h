// SPDX-License-Identifier: Apache-2.0
// Pidfile: a file with this process's number for as long as the object lives. Main thread.
#pragma once

#include <string>

#include <uvmm/error.hpp>

namespace uvmm::command {

class Pidfile {
 public:
  Pidfile() = default;  // none
  Pidfile(Pidfile&& other) noexcept;
  Pidfile& operator=(Pidfile&& other) noexcept;
  ~Pidfile() { remove(); }

  // A file that a dead process left is taken over; a live one's, or a file that is no pidfile, is refused.
  // The process that holds it has it locked.
  static Result<Pidfile> create(const std::string& path);

  void remove();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace uvmm::command
