// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/queue.h"

#include <cassert>

namespace uvmm {

Queue::Queue(Io& io, const GuestMemory& memory, const Virtqueue::Layout& layout, u64 features,
             Interrupt& interrupt, BrokenQueueListener& listener, QueueCounters& counters)
    : io_(io),
      interrupt_(interrupt),
      listener_(listener),
      counters_(counters),
      ring_(memory, layout, features, this) {
  yield_op_.queue = this;
  yield_op_.on_complete = [](Op& op, i32, bool) {
    Queue& self = *static_cast<YieldOp&>(op).queue;
    self.yielding_ = false;
    self.resume_waiter();
  };
  end_of_turn_.queue = this;
  end_of_turn_.run = [](TurnEnd& hook) { static_cast<EndOfTurn&>(hook).queue->turn_ended(); };
  look_.queue = this;
  look_.look = [](BeforeSleep& hook, bool last) { return static_cast<Look&>(hook).queue->look(last); };
}

Queue::~Queue() {
  assert(!waiter_ && !yielding_);
  io_.forget(end_of_turn_);
  io_.forget(look_);
}

// Whether next() has its answer: a chain in next_, or nothing because no more will come.
bool Queue::find_next() {
  if (stopped_ || ring_.broken()) return true;
  if (taken_in_turn_ >= size()) return false;
  std::optional<DescriptorChain> chain = pop();
  if (!chain) return ring_.broken();
  next_.emplace(std::move(*chain));
  return true;
}

void Queue::suspend(std::coroutine_handle<> waiting) {
  assert(!waiter_);
  waiter_ = waiting;
  if (yielding_) return;
  if (taken_in_turn_ < size()) return io_.before_sleep(look_);
  yielding_ = true;
  io_.submit(yield_op_);
}

bool Queue::look(bool last) {
  if (last) look_.eager = false;
  if (!waiter_ || yielding_ || ring_.broken()) return false;
  const bool asks = last && !delays_notifications_;
  if (last && !asks) io_.before_sleep(look_);
  const bool nothing = asks ? ring_.enable_notifications() : !ring_.has_news();
  if (nothing) return false;
  report_if_broken();
  resume_waiter();
  return true;
}

void Queue::resume_waiter() {
  if (!waiter_ || yielding_) return;
  if (!find_next()) return suspend(std::exchange(waiter_, nullptr));
  std::exchange(waiter_, nullptr).resume();
}

void Queue::notify() {
  if (!ring_.broken()) resume_waiter();
}

std::optional<DescriptorChain> Queue::take_next() {
  std::optional<DescriptorChain> chain(std::move(next_));
  next_.reset();
  return chain;
}

std::optional<DescriptorChain> Queue::try_next() {
  if (stopped_) return std::nullopt;
  return pop();
}

std::optional<DescriptorChain> Queue::pop() {
  std::optional<DescriptorChain> chain = ring_.pop();
  report_if_broken();
  if (!chain) return chain;
  ring_.disable_notifications();
  counters_.bytes_from_guest.add(chain->readable.size());
  ++taken_in_turn_;
  io_.at_turn_end(end_of_turn_);
  return chain;
}

void Queue::chain_returned(u32 written) {
  counters_.requests.add();
  counters_.bytes_to_guest.add(written);
  io_.at_turn_end(end_of_turn_);
}

void Queue::stop() {
  stopped_ = true;
  if (waiter_) std::exchange(waiter_, nullptr).resume();
}

void Queue::mark_broken() {
  ring_.mark_broken();
  report_if_broken();
}

void Queue::report_if_broken() {
  if (!ring_.broken() || reported_) return;
  reported_ = true;
  listener_.queue_broke();
}

void Queue::turn_ended() {
  taken_in_turn_ = 0;
  const u16 used = ring_.unpublished();
  look_.eager |= used > 0;
  used_since_ += used;
  owes_interrupt_ |= ring_.publish();
  if (owes_interrupt_ && (!delays_interrupts_ || used_since_ >= size() / 2u)) interrupt_now();
}

void Queue::interrupt_now() {
  if (!std::exchange(owes_interrupt_, false)) return;
  used_since_ = 0;
  counters_.interrupts.add();
  interrupt_.raise();
}

}  // namespace uvmm
