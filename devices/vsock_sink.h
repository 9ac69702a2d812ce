// SPDX-License-Identifier: Apache-2.0
// VsockSink: what a guest sends on one connection, on its way into the host's socket. I/O thread only; part
// of a VsockConnection.
//
// Bytes go from the guest's buffers straight to the socket. What the socket refuses is copied, so that a slow
// reader holds up no buffer of the guest; credit bounds how much that can be. Records (seqpacket) are
// gathered here until they are whole, because one system call has to send each.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "devices/byte_ring.h"
#include "devices/virtio/virtqueue.h"
#include "devices/vsock_credit.h"
#include "vmm/base/io.h"
#include "vmm/base/task.h"

namespace uvmm {

class VsockSink {
 public:
  static constexpr u64 kMostRecords = 65536;  // that wait; as bytes bound the rest, they may be empty

  class Owner {
   public:
    virtual void forwarded(u32 bytes) = 0;    // to the socket; or dropped, after a failure
    virtual void sink_failed(i32 error) = 0;  // the socket takes no more; what waited is dropped
    virtual void sink_idle() = 0;             // nothing waits any more

   protected:
    ~Owner() = default;
  };

  VsockSink(Io& io, Owner& owner) : io_(io), owner_(owner) {}
  VsockSink(const VsockSink&) = delete;
  VsockSink& operator=(const VsockSink&) = delete;

  // From now on what comes goes to this socket, which is borrowed.
  void open(int fd);
  bool is_open() const { return fd_ >= 0; }
  // The data of one packet: all of `chain.readable`, which has no hole.
  void push(DescriptorChain&& chain);
  // The data of one packet of a record. False if too many records wait.
  bool push_record(Segments& data, bool last);
  // Sends what has been pushed.
  void flush();
  // Drops what waits, and stops as soon as the operation in flight ends.
  void abandon();

  bool empty() const { return held_.empty() && kept() == 0 && records_.empty(); }
  TaskScope::DrainAwaiter ended() { return tasks_.drained(); }

 private:
  static constexpr u64 kMostPieces = 64;  // in one system call
  using Pieces = std::span<iovec, kMostPieces>;

  Task<> write();
  u64 gather(Pieces pieces, msghdr& message) const;
  void sent(u64 bytes);
  void keep_held();
  void drop_all();
  u64 kept() const { return ring_ ? ring_->size() : 0; }
  ByteRing& ring();

  Io& io_;
  Owner& owner_;
  int fd_ = -1;
  bool writing_ = false;
  bool abandoned_ = false;
  std::vector<std::optional<DescriptorChain>> held_;  // the guest's buffers, for one turn; first to be sent
  u64 first_held_ = 0;                                // those before are done
  std::unique_ptr<ByteRing> ring_;                    // what the socket had no room for
  std::deque<u32> records_;                           // the lengths of whole ones at the ring's front
  u32 partial_record_ = 0;                            // the bytes behind them
  TaskScope tasks_;
};

}  // namespace uvmm
