// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_table.h"

namespace uvmm {

VsockConnection* VsockTable::find(const VsockTuple& tuple) const {
  const auto found = known_.find(key(tuple));
  return found == known_.end() ? nullptr : found->second;
}

u32 VsockTable::new_host_port(u32 guest_port) {
  for (;;) {
    const u32 port = next_host_port_;
    next_host_port_ = port == kLastHostPort ? kFirstHostPort : port + 1;
    if (!find({.host_port = port, .guest_port = guest_port})) return port;
  }
}

}  // namespace uvmm
