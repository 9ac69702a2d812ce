// SPDX-License-Identifier: Apache-2.0
// Session: what server and guest have agreed on in FUSE_INIT, from then to FUSE_DESTROY. A value; I/O thread
// only; lives in the Server.
#pragma once

#include <expected>

#include "devices/fuse/share.h"
#include "devices/fuse/wire.h"

namespace uvmm::fuse {

class Session {
 public:
  static constexpr u32 kMostPages = 256;  // in a read or write
  static constexpr u32 kMostBytes = kMostPages * static_cast<u32>(kPageSize);

  bool established() const { return established_; }
  bool has(u64 flag) const { return (flags_ & flag) != 0; }

  // Answers a FUSE_INIT, or -errno. A guest with a later major version is told of ours, and asks again.
  std::expected<fuse_init_out, i32> negotiate(const fuse_init_in& offer, const Share& share);
  void end() { *this = {}; }

 private:
  bool established_ = false;
  u64 flags_ = 0;
};

}  // namespace uvmm::fuse
