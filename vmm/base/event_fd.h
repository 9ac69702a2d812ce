// SPDX-License-Identifier: Apache-2.0
// An eventfd(2) that counts from zero. `flags`: EFD_NONBLOCK or none; it is closed on exec in any case.
#pragma once

#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace uvmm {

Result<Fd> create_eventfd(int flags = 0);

}  // namespace uvmm
