// SPDX-License-Identifier: Apache-2.0
// Queue: a virtqueue with its doorbell and its interrupt, as a device's coroutines see it. I/O thread only.
#pragma once

#include <coroutine>
#include <optional>

#include "devices/virtio/virtqueue.h"
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

class Queue {
 public:
  Queue(Io& io, const GuestMemory& memory, const Virtqueue::Layout& layout, u64 features,
        Interrupt& interrupt, BrokenQueueListener& listener);
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue();

  struct NextAwaiter {
    Queue& queue;
    bool await_ready() const;
    bool await_suspend(std::coroutine_handle<> waiting) const;
    std::optional<DescriptorChain> await_resume() const;
  };
  // The next request, when there is one; nothing once the queue has been stopped or is broken. One waiter at
  // a time.
  //   std::optional<DescriptorChain> chain = co_await queue.next();
  // A driver that keeps the ring full does not starve others: after a ring's worth of requests the waiter is
  // put off to the next turn.
  NextAwaiter next() { return NextAwaiter{*this}; }

  // A request if there is one now, without waiting. For devices that fill buffers when they have something to
  // say.
  std::optional<DescriptorChain> try_next();

  // The driver has rung the doorbell.
  void notify();

  // next() yields nothing from now on; its waiter is resumed. For reset.
  void stop();
  bool stopped() const { return stopped_; }

  // The device found a request it cannot even answer (a missing status byte, say): the queue is broken from
  // here on.
  void mark_broken();

  u16 size() const { return ring_.size(); }
  u16 chains_out() const { return ring_.chains_out(); }

 private:
  // (implementation's state)
  Virtqueue ring_;
  bool stopped_ = false;
};

}  // namespace uvmm
