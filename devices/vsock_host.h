// SPDX-License-Identifier: Apache-2.0
// VsockHost: where connections meet the host's file system: the sockets at which host programs ask for the
// guest's ports, and the paths at which the guest's requests look for host programs. open() and close() on
// any thread, one at a time; outlives the device.
//
// Without a path there are only the ports that the embedding program serves; these come first in any case.
//
//   PATH            a stream socket: a program connects, writes "CONNECT 22\n", reads "OK ...\n", and talks
//   PATH_seqpacket  the same for records, as a seqpacket socket: the line is one record
//   PATH_52         what the guest finds at port 52 of CID 2, if a program listens there, stream or seqpacket
#pragma once

#include <sys/un.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "devices/unix_listener.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

class VsockHost {
 public:
  // A path with the longest of these suffixes still fits into a socket's name.
  static constexpr u64 kMostPathBytes = sizeof(sockaddr_un::sun_path) - 1 - sizeof("_4294967295") + 1;
  // Descriptors that the guest cannot make this process use up.
  static constexpr u32 kReservedFds = 64;

  static Result<std::unique_ptr<VsockHost>> open(const std::string& path,
                                                 std::vector<VsockListener> listeners = {});

  // -1 without a path.
  int stream_listener() const { return streams_ ? streams_->fd() : -1; }
  int record_listener() const { return records_ ? records_->fd() : -1; }

  // A new connection to the embedding program, which has been given its end of it; none if it does not serve
  // `port`, or as new_socket().
  Fd connect_to_embedder(u32 port, u16 type) const;

  // A socket of the host's file system, and a name for it that means no other as long as this lives: `socket`
  // holds it (O_PATH). Where there is no /proc it is the path's name, and `socket` none.
  struct Target {
    Fd socket;
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  };
  // What the guest's requests for `port` reach; nothing if the path has no socket (a symbolic link is none),
  // can be no socket's name, or as new_socket().
  std::optional<Target> target_of(u32 port) const;
  // A new socket for `type` (VIRTIO_VSOCK_TYPE_*); none if the host or its reserve of descriptors does not
  // allow it.
  Fd new_socket(u16 type) const;
  // The longest record, a whole window, goes into a socket as one, if net.core.wmem_max allows it.
  static void make_room(int fd);
  // Whether there are descriptors left once `fd`, the newest, is in use.
  bool within_reserve(int fd) const { return fd < most_fds_; }

  // Nobody new finds the sockets from now on.
  void close();

 private:
  VsockHost(const std::string& path, std::vector<VsockListener> listeners);

  std::string path_;
  Fd directory_;  // where `path_` is, whatever becomes of the path; none without /proc
  std::vector<VsockListener> listeners_;
  std::optional<UnixListener> streams_;
  std::optional<UnixListener> records_;
  int most_fds_;
};

}  // namespace uvmm
