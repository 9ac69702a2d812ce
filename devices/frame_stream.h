// SPDX-License-Identifier: Apache-2.0
// FrameStream: Ethernet frames over a stream socket, each behind its length as four bytes, big-endian: what
// passt, and QEMU's `-netdev stream`, speak. I/O thread only.
//
// Nothing here waits: what the socket does not take at once of a frame that it has begun is kept here, since
// half a frame would make nonsense of all that follows.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <span>
#include <vector>

#include "vmm/base/fd.h"
#include "vmm/base/types.h"

namespace uvmm {

class FrameStream {
 public:
  static constexpr u32 kLengthBytes = 4;
  static constexpr u32 kMostFrameBytes = 65'535 + 18;  // an IP packet, and its header with a VLAN tag

  explicit FrameStream(Fd socket);

  int fd() const { return socket_.get(); }

  // Takes the next frame if the whole of it has come, and puts `header` and it into `buffers`, cut off where
  // they end. How many bytes that was; -EAGAIN if there is none yet; -EPIPE when the other side has ended;
  // -EPROTO when it has sent what is no frame; or another negative errno value.
  i32 receive(std::span<const iovec> buffers, std::span<const u8> header);
  bool has_frame() const;

  // Sends one frame, `parts` but for their first `skipped` bytes. 0 if it is on its way, which it is not
  // wholly while backlog(); or a negative errno value, with nothing of it sent: -EAGAIN while the socket
  // takes no more, or backlog().
  i32 send(std::span<const iovec> parts, u64 skipped);
  // Sends what is left of the last frame. 0, or a negative errno value.
  i32 flush();
  bool backlog() const { return !backlog_.empty(); }

 private:
  static constexpr u32 kBufferBytes = 128 << 10;

  std::span<const u8> received() const { return {buffer_.get() + start_, end_ - start_}; }
  u32 next_length() const;
  i32 fill();

  Fd socket_;
  std::unique_ptr<u8[]> buffer_;  // of what has come, the part that was not taken yet
  u32 start_ = 0, end_ = 0;
  std::vector<u8> backlog_;  // never grows beyond what is reserved
};

}  // namespace uvmm
