// SPDX-License-Identifier: Apache-2.0
// Owners: whose the files are, seen from the guest and on the host. CreationScope: a stretch of code in which
// the calling thread creates files as the guest's caller would. Any thread; I/O thread only.
//
// With every privilege that it takes, ids pass through: the guest's user 1000 is the host's. Otherwise, or
// when the configuration gives ids, all files appear to belong to those, whatever is created belongs on the
// host to one owner, and nothing changes hands.
#pragma once

#include <sys/types.h>

#include <optional>

#include "devices/fuse/wire.h"

namespace uvmm::fuse {

struct Ids {
  u32 uid = 0;
  u32 gid = 0;
  bool operator==(const Ids&) const = default;
};

class Owners {
 public:
  // Whether this process may create files as anyone and give them to anyone.
  static bool may_pass_through();

  static Owners pass_through() { return {}; }
  // All appear as `shown`. What is created belongs to `creator`, if this process has to become another to
  // that end, else to it.
  static Owners mapped(Ids shown, std::optional<Ids> creator) {
    Owners owners;
    owners.shown_ = shown;
    owners.creator_ = creator;
    return owners;
  }

  bool passes_through() const { return !shown_; }
  Ids shown(Ids host) const { return shown_.value_or(host); }
  // Whom to create as; nothing: as this process is.
  std::optional<Ids> creator(const fuse_in_header& caller) const {
    if (shown_) return creator_;
    return Ids{caller.uid, caller.gid};
  }

 private:
  std::optional<Ids> shown_;
  std::optional<Ids> creator_;
};

class CreationScope {
 public:
  // `umask` is the caller's, and what this thread's is for as long as this lives.
  CreationScope(const Owners& owners, const fuse_in_header& caller, u32 umask);
  CreationScope(const CreationScope&) = delete;
  CreationScope& operator=(const CreationScope&) = delete;
  ~CreationScope();

  // Whether this thread is who it is meant to be; nothing may be created otherwise.
  explicit operator bool() const { return ready_; }

 private:
  const mode_t umask_, umask_before_;
  Ids before_;
  bool changed_ = false;
  bool ready_ = true;
};

}  // namespace uvmm::fuse
