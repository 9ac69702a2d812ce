// SPDX-License-Identifier: Apache-2.0
// Queue: a virtqueue with its doorbell and its interrupt, as a device's coroutines see it. I/O thread only.
#pragma once

#include <coroutine>
#include <optional>
#include <utility>

#include "devices/virtio/virtqueue.h"
#include "vmm/base/counter.h"
#include "vmm/base/io.h"

namespace uvmm {

// How a device gets the driver's attention. The transport has one for each queue.
class Interrupt {
 public:
  virtual void raise() = 0;

 protected:
  ~Interrupt() = default;
};

// Told once, when a queue turns out broken: the transport then sets DEVICE_NEEDS_RESET (virtio 1.2, 2.1.2).
class BrokenQueueListener {
 public:
  virtual void queue_broke() = 0;

 protected:
  ~BrokenQueueListener() = default;
};

// What went through a queue, for whoever wants to know. It outlives the Queue, of which each reset makes
// another.
struct QueueCounters {
  Counter requests, bytes_from_guest, bytes_to_guest, notifications, interrupts;
};

class Queue final : private Virtqueue::ReturnListener {
 public:
  // What it asks of `io` is a turn's end, and a turn off when it must let others run.
  Queue(Io& io, const GuestMemory& memory, const Virtqueue::Layout& layout, u64 features,
        Interrupt& interrupt, BrokenQueueListener& listener, QueueCounters& counters);
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue();  // stopped, and what it asked of `io` has ended

  struct NextAwaiter {
    Queue& queue;
    bool await_ready() const { return queue.find_next(); }
    void await_suspend(std::coroutine_handle<> waiting) const { queue.suspend(waiting); }
    std::optional<DescriptorChain> await_resume() const { return queue.take_next(); }
  };
  // The next request, when there is one; nothing once the queue has been stopped or is broken. One waiter at
  // a time.
  //   std::optional<DescriptorChain> chain = co_await queue.next();
  // The driver is asked for a notification only before the thread sleeps.
  // A driver that keeps the ring full does not starve others: after a ring's worth of requests the waiter is
  // put off to the next turn.
  NextAwaiter next() { return NextAwaiter{*this}; }

  // A request if there is one now, without waiting. For devices that fill buffers when they have something to
  // say.
  std::optional<DescriptorChain> try_next();

  // The driver has rung the doorbell.
  void notify();

  // next() yields nothing from now on; its waiter is resumed. For reset. Requests that end afterwards are
  // still published.
  void stop();
  bool stopped() const { return stopped_; }

  // Interrupts for used buffers need not come at once, since the driver gets nothing with them that it waits
  // for: only when half the ring's worth of buffers has been used, or with interrupt_now(), which must follow
  // soon enough for a driver that does wait.
  void delay_interrupts(bool delay) { delays_interrupts_ = delay; }
  void interrupt_now();
  // Likewise the driver is not asked to ring for what nobody waits for: it is found when the thread is awake
  // for something else, or after this has been taken back, which must follow soon enough.
  void delay_notifications(bool delay) { delays_notifications_ = delay; }
  // Whether there is one to come: for what is out, for what comes back at this turn's end, or put off.
  bool expects_interrupt() const {
    return owes_interrupt_ || ring_.chains_out() > 0 || ring_.unpublished() > 0;
  }

  // The device found a request it cannot even answer (a missing status byte, say): the queue is broken from
  // here on. A coroutine that waits in next() is left waiting until stop().
  void mark_broken();

  u16 size() const { return ring_.size(); }
  u16 chains_out() const { return ring_.chains_out(); }

 private:
  struct YieldOp : Op {
    Queue* queue = nullptr;
  };
  struct EndOfTurn : TurnEnd {
    Queue* queue = nullptr;
  };
  struct Look : BeforeSleep {
    Queue* queue = nullptr;
  };

  bool find_next();
  void suspend(std::coroutine_handle<> waiting);
  void resume_waiter();
  std::optional<DescriptorChain> take_next();
  std::optional<DescriptorChain> pop();
  void chain_returned(u32 written) override;
  void turn_ended();
  bool look(bool last);
  void report_if_broken();

  Io& io_;
  Interrupt& interrupt_;
  BrokenQueueListener& listener_;
  QueueCounters& counters_;
  Virtqueue ring_;
  std::optional<DescriptorChain> next_;  // found for a next() that is about to return
  std::coroutine_handle<> waiter_;
  u16 taken_in_turn_ = 0;
  bool stopped_ = false;
  bool yielding_ = false;
  bool reported_ = false;
  bool delays_interrupts_ = false;
  bool delays_notifications_ = false;
  bool owes_interrupt_ = false;
  u32 used_since_ = 0;  // the last interrupt
  YieldOp yield_op_;
  EndOfTurn end_of_turn_;
  Look look_;
};

}  // namespace uvmm
