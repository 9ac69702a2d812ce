// SPDX-License-Identifier: Apache-2.0
// Uring: the real door to the host, an io_uring and the loop that turns it.
//
// create() on any thread; run() and everything of Io on one thread, the I/O thread; call() and stop() on any
// other.
#pragma once

#include <liburing.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "vmm/base/fd.h"
#include "vmm/base/io.h"
#include "vmm/base/result.h"

namespace uvmm {

class Uring final : public Io {
 public:
  static Result<std::unique_ptr<Uring>> create(u32 entries = 256);
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  ~Uring() override;

  void submit(Op& op) override;
  void cancel(Op& op) override;
  void at_turn_end(TurnEnd& hook) override { turn_ends_.add(hook); }
  void forget(TurnEnd& hook) override { turn_ends_.remove(hook); }
  void before_sleep(BeforeSleep& hook) override { before_sleep_.add(hook); }
  void forget(BeforeSleep& hook) override { before_sleep_.remove(hook); }
  i32 readv_now(int fd, std::span<const iovec> buffers) override;
  i32 writev_now(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) override;

  // Turns until stop(). A turn: submit what has gathered and wait for completions in one system call, take
  // all of them, run their coroutines, run what was put off to the turn's end. Before it waits, rings are
  // looked at once more; for some microseconds, if the guest has just been given what it may answer.
  void run();
  // Turns until `done()`, which is asked before each turn. After run().
  template <typename Done>
  void turn_until(Done done) {
    while (!done()) turn();
  }
  // Handles whatever has happened by now, without waiting for more. After run().
  void catch_up();
  // Turns until nothing is in flight any more. For the end, on the I/O thread, after everything was
  // cancelled.
  void drain();
  void stop();

  // Runs `function` on the I/O thread and waits until it is done; so not for that thread itself. False, and
  // not run, once close() was called.
  template <typename Function>
  bool call(Function&& function);
  // The same without waiting; also before run().
  void post(std::move_only_function<void()> function);
  // Refuses all calls from now on, those that wait included.
  void close();

  u64 enters() const { return enters_; }  // system calls that it has made

 private:
  // Something to run here, listed by another thread.
  struct Call {
    void (*run)(Call&);
    void (*finish)(Call&, bool done);  // the last that is done with it
    Call* next = nullptr;
  };
  struct Posted;

  struct WakeOp : Op {
    Uring* uring = nullptr;
  };

  Uring() = default;
  Result<void> initialise(u32 entries);
  io_uring_sqe* next_sqe();
  u32 turn();  // the number of completions that it took
  void enter(u32 wait_for);
  void sleep_till_work();
  void await_work();
  bool look_for_a_while();
  bool kernel_has_more() const;
  bool is_too_much_at_once(u64 bytes);
  bool takes_too_long_at_once(const Op& op);
  bool enqueue(Call& call);
  void run_calls();
  void wake() const;

  io_uring ring_{};
  bool ring_exists_ = false;
  bool enabled_ = false;
  u32 in_flight_ = 0;
  u32 quiet_ = 0;  // of those that have gathered and the kernel has not been given
  u64 bytes_in_turn_ = 0;
  u64 no_writes_before_ = 0;  // within a call; nanoseconds
  u64 enters_ = 0;
  TurnEndList turn_ends_;
  BeforeSleepList before_sleep_;
  bool looks_for_a_while_ = false;
  u32 unanswered_ = 0;  // grows with the looks in a row that found nothing
  u32 sleeps_without_look_ = 0;

  Fd wake_fd_;  // an eventfd that is polled and never read: each write is one completion
  WakeOp wake_op_;
  std::atomic<bool> stopping_ = false;
  std::mutex calls_mutex_;
  Call* first_call_ = nullptr;
  Call** last_call_ = &first_call_;
  bool closed_ = false;
};

template <typename Function>
bool Uring::call(Function&& function) {
  enum Progress : u32 { kWaiting, kDone, kRefused };
  struct Bound : Call {
    Function& function;
    std::atomic<u32> state = kWaiting;
    explicit Bound(Function& f)
        : Call{[](Call& call) { static_cast<Bound&>(call).function(); },
               [](Call& call, bool done) {
                 Bound& self = static_cast<Bound&>(call);
                 self.state.store(done ? kDone : kRefused);
                 self.state.notify_one();
               }},
          function(f) {}
  } bound(function);
  if (!enqueue(bound)) return false;
  bound.state.wait(kWaiting);
  return bound.state.load() == kDone;
}

}  // namespace uvmm
