// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/event_fd.h"

#include <sys/eventfd.h>

#include <cerrno>

namespace uvmm {

Result<Fd> create_eventfd(int flags) {
  Fd fd(::eventfd(0, EFD_CLOEXEC | flags));
  if (!fd) return fail(ErrorKind::kHost, "cannot create an eventfd: {}", error_text(errno));
  return fd;
}

}  // namespace uvmm
