// SPDX-License-Identifier: Apache-2.0
// VsockOutbox: the device's receive queue, on which everything goes that the guest gets. I/O thread only;
// part of Vsock.
//
// Buffers are taken from the ring when there is something to put into them. Resets come first, then the
// connections' other words, then data: connections that have some stand in line for buffers, get a bounded
// number at a time and go to the line's end. Nothing here grows without bound when the guest offers no
// buffers.
#pragma once

#include <cassert>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "devices/intrusive_fifo.h"
#include "devices/virtio/queue.h"
#include "devices/vsock_credit.h"
#include "devices/vsock_packet.h"
#include "vmm/base/log.h"
#include "vmm/base/task.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

class VsockOutbox {
 public:
  static constexpr u16 kQueueSize = 256;
  static constexpr u64 kMostResets =
      1024;  // that wait; what finds no room is answered when the guest asks again
  static constexpr u32 kMostBuffers = 64;  // that one connection gets at a time

 private:
  // One of the guest's buffers, whose header is written last. The header may lie in several pieces.
  struct Buffer {
    std::optional<DescriptorChain> chain;
    std::span<const iovec> header_pieces;
    iovec header_end{};
    Buffer* next = nullptr;
  };
  using Buffers = IntrusiveFifo<Buffer, &Buffer::next>;

 public:
  // What the outbox has to know of a connection.
  class Sender {
   public:
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    const VsockTuple& tuple() const { return tuple_; }
    VsockCredit& credit() { return credit_; }
    bool has_buffers() const { return !lent_.empty(); }

   protected:
    explicit Sender(const VsockTuple& tuple) : tuple_(tuple) {}
    ~Sender() { assert(!waits_to_speak_ && !waits_for_buffers_ && lent_.empty()); }

    VsockTuple tuple_;
    VsockCredit credit_;
    u32 shutdown_ = 0;  // the flags of SHUTDOWN, when that is said

   private:
    friend VsockOutbox;
    virtual void buffers_lent() = 0;

    u32 due_ = 0;  // what is to be said: a bit for each VIRTIO_VSOCK_OP_*
    bool waits_to_speak_ = false;
    bool waits_for_buffers_ = false;
    Sender* next_to_speak_ = nullptr;
    Sender* next_in_line_ = nullptr;
    Buffers lent_;
  };

  VsockOutbox(u64 guest_cid, Log& log);
  VsockOutbox(const VsockOutbox&) = delete;
  VsockOutbox& operator=(const VsockOutbox&) = delete;

  // Serves the receive queue.
  Task<> run(Queue& queue);
  // A reset begins.
  void stop();

  // Says REQUEST, RESPONSE, SHUTDOWN, CREDIT_UPDATE or CREDIT_REQUEST, as soon as there is a buffer.
  void say(Sender& sender, u16 op);
  // Says RST, which needs no connection.
  void reset(const VsockTuple& tuple);

  // Asks for buffers for data: buffers_lent() is called when there are some, perhaps at once.
  void ask_for_buffers(Sender& sender);
  // The room in the lent buffers, up to `limit` bytes and to the pieces that `pieces` has; how many there
  // are.
  u32 gather(Sender& sender, std::span<iovec> pieces, u64 limit) const;
  // Sends the lent buffers with the first `bytes` of that room filled, and takes the others back.
  void send(Sender& sender, u64 bytes);
  // Sends as much of `data` as the lent buffers hold, takes the others back, and says how much. `last_flags`
  // are for the packet in which `data` ends.
  u64 send_copy(Sender& sender, std::span<const u8> data, u32 last_flags);
  // The sender wants no buffers after all.
  void take_back(Sender& sender);
  // The sender has nothing more to say, and wants no more buffers. It keeps those that it has.
  void forget(Sender& sender);

 private:
  Buffer* take_buffer();
  Buffer* keep(DescriptorChain&& chain);
  void fill(Buffer& buffer, virtio_vsock_hdr& header, u32 bytes);
  void finish(Buffer& buffer);
  void return_buffer(Buffer& buffer);
  virtio_vsock_hdr header_for(Sender& sender, u16 op) const;

  void work();
  bool work_left() const;
  void say_resets();
  void say_due(Sender& sender);
  void lend(Sender& sender);

  const u64 guest_cid_;
  Log& log_;
  Queue* queue_ = nullptr;
  bool stopping_ = false;
  WaitList starving_;  // run(), until there is work that lacks buffers

  std::vector<Buffer> buffers_;
  Buffers unused_;  // of buffers_: those without a chain
  Buffers taken_;   // from the ring, and not used after all
  std::deque<VsockTuple> resets_;
  IntrusiveFifo<Sender, &Sender::next_to_speak_> speakers_;
  IntrusiveFifo<Sender, &Sender::next_in_line_> line_;
};

}  // namespace uvmm
