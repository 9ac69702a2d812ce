// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/leave.h"

#include <dirent.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string_view>

namespace uvmm::command {
namespace {

alignas(16) char helper_stack[8192];

// Shares even thread-local storage with the main thread, and so does next to nothing.
int hold(void* parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have been faster.
  while (::syscall(SYS_getppid) == *static_cast<pid_t*>(parent)) ::syscall(SYS_pause);
  ::_exit(0);
}

void close_all_but_kvm() {
  DIR* const directory = ::opendir("/proc/self/fd");
  if (!directory) return;
  while (const dirent* const entry = ::readdir(directory)) {
    char target[16];  // enough of "anon_inode:kvm-vm"
    const ssize_t size = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof(target));
    if (size < 0 || std::string_view(target, static_cast<std::size_t>(size)).starts_with("anon_inode:kvm-"))
      continue;
    const int fd = std::atoi(entry->d_name);
    if (fd != ::dirfd(directory)) ::close(fd);
  }
  ::closedir(directory);
}

}  // namespace

void leave(int status, bool memory_first) {
  if (memory_first) ::_exit(status);
  static pid_t self = ::getpid();
  close_all_but_kvm();
  ::clone(hold, helper_stack + sizeof(helper_stack), CLONE_VM | CLONE_FILES | CLONE_FS, &self);
  ::_exit(status);  // without a helper, too: it then takes its time
}

}  // namespace uvmm::command
