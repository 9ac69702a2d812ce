// SPDX-License-Identifier: Apache-2.0
// VsockTable: the connections there are, and those of them that the guest knows, by their ports. I/O thread
// only; part of Vsock.
#pragma once

#include <map>
#include <optional>
#include <set>

#include "devices/vsock_packet.h"

namespace uvmm {

class VsockConnection;

class VsockTable {
 public:
  static constexpr u64 kMostConnections = 4096;
  // Host programs that connect have ports from here on, which the guest's own addresses are seldom in.
  static constexpr u32 kFirstHostPort = u32{1} << 30;
  static constexpr u32 kLastHostPort = (u32{1} << 31) - 1;

  bool full() const { return all_.size() >= kMostConnections; }
  void add(VsockConnection& connection) { all_.insert(&connection); }
  void remove(VsockConnection& connection) { all_.erase(&connection); }
  const std::set<VsockConnection*>& all() const { return all_; }

  // Null if the guest knows none.
  VsockConnection* find(const VsockTuple& tuple) const;
  // `tuple` is not in use.
  void attach(const VsockTuple& tuple, VsockConnection& connection) { known_[key(tuple)] = &connection; }
  void detach(const VsockTuple& tuple) { known_.erase(key(tuple)); }

  // A port for a host program's connection to `guest_port`. One that was in use comes again as late as
  // possible.
  u32 new_host_port(u32 guest_port);

 private:
  static u64 key(const VsockTuple& tuple) { return u64{tuple.host_port} << 32 | tuple.guest_port; }

  std::set<VsockConnection*> all_;
  std::map<u64, VsockConnection*> known_;  // ordered: the guest chooses the keys
  u32 next_host_port_ = kFirstHostPort;
};

}  // namespace uvmm
