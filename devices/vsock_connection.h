// SPDX-License-Identifier: Apache-2.0
// VsockConnection: one connection between a host program's socket and the guest (virtio 1.2, 5.10.6). I/O
// thread only. serve() is its life: it holds the reading from the host, while the guest's packets come by
// calls and leave through the sink.
//
// The guest knows it as long as it is attached, that is, in the table. After that it may live on to deliver
// what the guest has sent before it closed. What others do to it takes effect at the turn's end: no call
// destroys it.
#pragma once

#include <optional>
#include <string>

#include "devices/vsock_deadlines.h"
#include "devices/vsock_host.h"
#include "devices/vsock_outbox.h"
#include "devices/vsock_sink.h"
#include "devices/vsock_table.h"
#include "vmm/base/fd.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/base/task.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

class VsockConnection final : public VsockOutbox::Sender,
                              public VsockDeadlines::Entry,
                              private VsockSink::Owner {
 public:
  static constexpr u32 kLineSeconds = 10;    // for a host program to name the port
  static constexpr u32 kConnectSeconds = 2;  // for either side to accept; Linux gives up after as long
  static constexpr u32 kCloseSeconds = 8;    // for the guest to confirm an end; as long as Linux waits
  static constexpr u32 kDeliverSeconds =
      300;  // without progress, for what a guest that has closed left behind

  // What it works with, all of which outlives it.
  struct Parts {
    Io& io;
    const VsockHost& host;
    VsockTable& table;
    VsockOutbox& outbox;
    VsockDeadlines& deadlines;
    Log& log;
  };

  // The guest asks for a connection.
  VsockConnection(const Parts& parts, const virtio_vsock_hdr& request, const VsockTuple& tuple);
  // A host program does, and will say to which port.
  VsockConnection(const Parts& parts, Fd client, u16 type);
  ~VsockConnection();

  // To its end, after which nothing is in flight.
  Task<> serve();

  // A packet of the guest's for it, other than a request.
  void take(const VsockPacket& packet, DescriptorChain&& chain);
  // The packets of a turn have been taken.
  void flush() { sink_.flush(); }
  bool needs_flush = false;  // for the device: it is on the list of those that have got data

  // Ends it at once. What waits in either direction is lost.
  void drop(bool tell_guest);

 private:
  enum class State : u8 { kNew, kRequested, kEstablished };

  // From vsock_connection_host.cpp: what it does with the host.
  Task<> connect_to_host();
  void accept_guest();
  Task<> take_client();
  Task<std::optional<u32>> read_line();
  Task<> read_bytes();
  i32 receive_bytes();
  Task<> read_records();
  Task<i32> receive_record();
  Task<> pass_on(std::span<const u8> record);
  bool read_failed(i32 error);

  void set_up();
  Task<> watch_for_end();
  void saw_events(i32 events, bool more);

  void respond();
  void take_shutdown(u32 flags);
  void take_data(const VsockPacket& packet, DescriptorChain&& chain);
  void say_shutdown(u32 flags);
  void settle();
  void detach();
  bool finished() const { return dropped_ || (!attached_ && sink_.empty()); }
  bool wants_to_read() const {
    return attached_ && !dropped_ && !(guest_shutdown_ & VIRTIO_VSOCK_SHUTDOWN_RCV);
  }
  bool is_seqpacket() const { return tuple_.type == VIRTIO_VSOCK_TYPE_SEQPACKET; }

  // Resumes serve() at the turn's end, if it waits in wake_.
  void wake() { parts_.io.at_turn_end(wake_hook_); }
  void buffers_lent() override { wake(); }
  void timed_out() override;
  void forwarded(u32 bytes) override;
  void sink_failed(i32 error) override;
  void sink_idle() override { settle(); }

  struct WakeHook : TurnEnd {
    VsockConnection* connection = nullptr;
  };
  struct EndWatch : Op {
    VsockConnection* connection = nullptr;
    bool in_flight = false;
  };

  const Parts parts_;
  Fd fd_;
  State state_ = State::kNew;
  const bool from_host_;
  bool attached_ = false;
  bool dropped_ = false;
  bool hung_up_ = false;  // the host's program has closed its end altogether
  bool deaf_ = false;     // it takes no more
  bool asked_for_credit_ = false;
  u32 guest_shutdown_ = 0;
  VsockSink sink_;
  WaitList wake_;
  WakeHook wake_hook_;
  EndWatch end_watch_;
  std::unique_ptr<u8[]> record_;  // the one that is on its way to the guest
};

}  // namespace uvmm
