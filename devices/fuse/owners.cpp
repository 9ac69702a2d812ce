// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/owners.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace uvmm::fuse {
namespace {

constexpr u32 kNobody = ~u32{0};  // no id: what the kernel takes for "leave it"

using Capabilities = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

bool read_capabilities(Capabilities& sets) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  return ::syscall(SYS_capget, &header, sets.data()) == 0;
}

constexpr u32 bit(u32 capability) {
  return u32{1} << capability;  // those that are used here are in the first word
}

// A caller may create in a directory by a supplementary group that the host does not know of. The guest's
// kernel has checked that it may; here only the new file's owner and the loss of its set-id bits matter.
void keep_directory_access() {
  Capabilities sets{};
  if (!read_capabilities(sets)) return;
  sets[0].effective |= sets[0].permitted & (bit(CAP_DAC_OVERRIDE) | bit(CAP_DAC_READ_SEARCH));
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  ::syscall(SYS_capset, &header, sets.data());
}

// This thread's; glibc's functions do not change other threads' either.
Ids thread_ids() {
  return {static_cast<u32>(::setfsuid(kNobody)), static_cast<u32>(::setfsgid(kNobody))};
}

}  // namespace

bool Owners::may_pass_through() {
  Capabilities sets{};
  if (::geteuid() != 0 || !read_capabilities(sets)) return false;
  constexpr u32 kNeeded = bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FOWNER) | bit(CAP_FSETID) |
                          bit(CAP_SETUID) | bit(CAP_SETGID);
  return (sets[0].effective & kNeeded) == kNeeded;
}

CreationScope::CreationScope(const Owners& owners, const fuse_in_header& caller, u32 umask)
    : umask_(umask & 0777), umask_before_(::umask(umask_)) {
  const std::optional<Ids> wanted = owners.creator(caller);
  if (!wanted) return;
  if (wanted->uid == kNobody || wanted->gid == kNobody) {
    ready_ = false;
    return;
  }
  before_ = {static_cast<u32>(::geteuid()), static_cast<u32>(::getegid())};
  if (*wanted == before_) return;
  changed_ = true;
  ::setfsgid(wanted->gid);
  ::setfsuid(wanted->uid);
  // They say nothing about success: an id without a mapping in this process's user namespace fails.
  ready_ = thread_ids() == *wanted;
  if (wanted->uid != before_.uid) keep_directory_access();
}

CreationScope::~CreationScope() {
  if (changed_) {
    ::setfsuid(before_.uid);  // which gives back the capabilities that go with files
    ::setfsgid(before_.gid);
  }
  if (umask_before_ != umask_) ::umask(umask_before_);
}

}  // namespace uvmm::fuse
