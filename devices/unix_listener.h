// SPDX-License-Identifier: Apache-2.0
// UnixListener: a listening Unix socket at a path, for its owner only (mode 0600). Move-only; takes the path
// away at its end, if it is still this socket. Any one thread at a time.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <string>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace uvmm {

class UnixListener {
 public:
  struct Options {
    int type = SOCK_STREAM;
    int backlog = 16;  // clients that wait
  };
  // Whatever is at `path` stays there, except a socket that nobody listens on any more. Two that come for the
  // same path at the same time take turns, by a lock on its directory.
  static Result<UnixListener> listen(const std::string& path, const Options& options);
  static Result<UnixListener> listen(const std::string& path) { return listen(path, Options{}); }

  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener() { remove_path(); }

  int fd() const { return fd_.get(); }
  // Takes the path away before the end: nobody new finds the socket.
  void remove_path();

 private:
  UnixListener(Fd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  Fd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace uvmm
