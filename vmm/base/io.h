// SPDX-License-Identifier: Apache-2.0
// Io: the one door to the host. Op: one host operation as data. OpGroup: the operations of one device.
//
// All of it lives on one I/O thread. While an Op is in flight the kernel owns it and the buffers that it
// names, so neither may move or go away: stopping is cancel, then wait.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <coroutine>
#include <span>

#include "vmm/base/types.h"

namespace uvmm {

class OpGroup;

u64 total_bytes(std::span<const iovec> buffers);

// One operation. Its address identifies it until it completes, so it is neither copied nor moved. `result` is
// what the system call would return: a count, or a negative errno value.
struct Op {
  enum class Kind : u8 {
    kNop,    // completes in the next turn: a way to let others run
    kReadv,  // fd, address = iovec array, count, offset, flags = RWF_*
    kWritev,
    kRead,  // fd, address = buffer, count = bytes, offset (kNoOffset for streams)
    kWrite,
    kSend,       // a socket: fd, address = buffer, count = bytes, flags = MSG_*
    kSendmsg,    // a socket: fd, address = msghdr, flags = MSG_*
    kRecvmsg,    // likewise; what recvmsg() changes in the msghdr is changed
    kFdatasync,  // fd
    kFsync,
    kFallocate,      // fd, flags = FALLOC_FL_*, offset, length
    kMadvise,        // address, length: memory of this process; flags = MADV_*
    kPoll,           // fd, flags = POLLIN...; result = the events that are ready
    kPollMultishot,  // likewise, completing again and again with more = true until cancelled
    kAccept,         // fd, flags = SOCK_*; result = a new descriptor
    kConnect,        // a socket: fd, address = sockaddr, length = its bytes
    kTimeout,        // length = nanoseconds from now; result = -ETIME
  };
  static constexpr u64 kNoOffset = ~u64{0};
  using Completion = void (*)(Op&, i32 result, bool more);

  Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  // For the implementations of Io: the operation has completed; with `more`, not for the last time.
  void complete(i32 result, bool more = false);

  Kind kind = Kind::kNop;
  // It ends as soon as the kernel has it, and nobody waits for that: the thread may sleep over its end.
  bool quiet = false;
  int fd = -1;
  const void* address = nullptr;
  u32 count = 0;
  u32 flags = 0;
  u64 offset = 0;
  u64 length = 0;
  std::array<i64, 2> timespec{};  // kTimeout's length as the ring wants it: seconds, nanoseconds
  Completion on_complete = nullptr;

 private:
  friend OpGroup;
  OpGroup* group_ = nullptr;
  Op* previous_ = nullptr;
  Op* next_ = nullptr;
};

// Work that is put off to the end of the I/O thread's turn, when every completion of it has been handled:
// used rings are published and interrupts raised there, once a batch. Embedded in its owner; never owned by
// the list.
struct TurnEnd {
  void (*run)(TurnEnd&) = nullptr;
  TurnEnd* next = nullptr;
  bool queued = false;
};

// What has to be done before the I/O thread sleeps, by a side that takes work from a memory that another
// thread fills: to look whether there is more, and to ask for a call when there is. Embedded in its owner;
// never owned by the list.
struct BeforeSleep {
  // Whether there was something to do, which it has then done. Called until it is the `last` time, with which
  // it asks to be called and looks once more.
  bool (*look)(BeforeSleep&, bool last) = nullptr;
  BeforeSleep* next = nullptr;
  bool queued = false;
  // The other side has been given something that it may answer at once, so that it is worth to look for a
  // little while.
  bool eager = false;
};

// A list of hooks, for implementations of Io.
template <typename Hook>
class HookList {
 public:
  void add(Hook& hook);
  void remove(Hook& hook);
  bool empty() const { return first_ == nullptr; }

 protected:
  Hook* first_ = nullptr;
  Hook** last_ = &first_;
};

class TurnEndList : public HookList<TurnEnd> {
 public:
  // Runs all, in order, those that they add included.
  void run();
};

class BeforeSleepList : public HookList<BeforeSleep> {
 public:
  bool eager() const;
  // Each looks once; whether one found something.
  bool look();
  // Each looks for the last time, and is off the list; whether one found something.
  bool look_last();
};

struct OpAwaiter;

class Io {
 public:
  virtual ~Io() = default;

  // Starts `op`. It always completes, later: never within this call.
  virtual void submit(Op& op) = 0;
  // Asks for `op`, which is in flight, to end early. It still completes: with -ECANCELED, or as if nothing
  // was asked.
  virtual void cancel(Op& op) = 0;
  // Runs `hook` at the end of this turn; nothing if it is listed already.
  virtual void at_turn_end(TurnEnd& hook) = 0;
  virtual void forget(TurnEnd& hook) = 0;
  // Has `hook` look before the thread sleeps; nothing if it is listed already.
  virtual void before_sleep(BeforeSleep& hook) = 0;
  virtual void forget(BeforeSleep& hook) = 0;

  // Reads at once what is there: a count, or a negative errno value, -EAGAIN if there is nothing. Only from
  // descriptors that do not block.
  virtual i32 readv_now(int fd, std::span<const iovec> buffers) = 0;
  // Writes to a file within this call: a count, or a negative errno value, -EAGAIN if it is better submitted:
  // when much was written in this turn, or when such a call has made this thread wait not long ago.
  virtual i32 writev_now(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) = 0;

  // Each of these is awaited at once: `const i32 done = co_await io.readv(fd, buffers, offset);`
  OpAwaiter readv(int fd, std::span<const iovec> buffers, u64 offset);
  OpAwaiter writev(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags = 0);
  OpAwaiter read(int fd, std::span<u8> buffer, u64 offset = Op::kNoOffset);
  OpAwaiter write(int fd, std::span<const u8> buffer, u64 offset = Op::kNoOffset);
  OpAwaiter send(int fd, std::span<const u8> buffer, u32 msg_flags);
  OpAwaiter sendmsg(int fd, const msghdr& message, u32 msg_flags);
  OpAwaiter recvmsg(int fd, msghdr& message, u32 msg_flags);
  OpAwaiter fdatasync(int fd);
  OpAwaiter fsync(int fd);
  OpAwaiter fallocate(int fd, u32 mode, u64 offset, u64 length);
  OpAwaiter madvise(std::span<u8> memory, u32 advice);
  OpAwaiter poll(int fd, u32 events);
  OpAwaiter accept(int fd, u32 flags);
  OpAwaiter connect(int fd, const sockaddr& name, u64 bytes);
  OpAwaiter sleep(u64 nanoseconds);
  OpAwaiter yield();  // lets everything else that is ready run first
};

// Waits for one Op that lives in the coroutine's frame. Trivially destructible, as g++ 12 wants of anything
// within the operand of a co_await.
struct OpAwaiter : Op {
  struct Fields {
    int fd = -1;
    const void* address = nullptr;
    u64 count = 0;
    u32 flags = 0;
    u64 offset = 0;
    u64 length = 0;
  };
  OpAwaiter(Io& door, Kind operation, const Fields& fields);

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept {
    waiter = coroutine;
    on_complete = [](Op& op, i32 done, bool) {
      OpAwaiter& self = static_cast<OpAwaiter&>(op);
      self.result = done;
      self.waiter.resume();
    };
    io.submit(*this);
  }
  i32 await_resume() const noexcept { return result; }

  Io& io;
  std::coroutine_handle<> waiter;
  i32 result = 0;
};

// An Io that passes everything on to another one and knows what is in flight, so that a device can be reset.
class OpGroup final : public Io {
 public:
  explicit OpGroup(Io& inner) : inner_(inner) {}
  OpGroup(const OpGroup&) = delete;
  OpGroup& operator=(const OpGroup&) = delete;
  ~OpGroup() override;  // asserts that nothing is in flight

  void submit(Op& op) override;
  void cancel(Op& op) override { inner_.cancel(op); }
  void at_turn_end(TurnEnd& hook) override { inner_.at_turn_end(hook); }
  void forget(TurnEnd& hook) override { inner_.forget(hook); }
  void before_sleep(BeforeSleep& hook) override { inner_.before_sleep(hook); }
  void forget(BeforeSleep& hook) override { inner_.forget(hook); }
  i32 readv_now(int fd, std::span<const iovec> buffers) override { return inner_.readv_now(fd, buffers); }
  i32 writev_now(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) override {
    return inner_.writev_now(fd, buffers, offset, rwf_flags);
  }

  // Asks all that is in flight to end, and whatever else is submitted until reopen().
  void cancel_all();
  void reopen() { cancelling_ = false; }

  bool idle() const { return first_ == nullptr; }
  // `hook` runs at the end of each turn in which the last operation ended; null for none. It may find that
  // another has been submitted since.
  void when_idle(TurnEnd* hook) { idle_hook_ = hook; }

 private:
  friend Op;
  void unlink(Op& op);

  Io& inner_;
  Op* first_ = nullptr;
  bool cancelling_ = false;
  TurnEnd* idle_hook_ = nullptr;
};

}  // namespace uvmm
