// SPDX-License-Identifier: Apache-2.0
// FakeIo: the test's door to the host. Operations wait here until the test says how each of them ends; a
// turn ends after each, as on the real ring.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "vmm/base/io.h"

namespace uvmm {

class FakeIo final : public Io {
 public:
  void submit(Op& op) override;
  void cancel(Op& op) override;
  void at_turn_end(TurnEnd& hook) override { turn_ends_.add(hook); }
  void forget(TurnEnd& hook) override { turn_ends_.remove(hook); }
  void before_sleep(BeforeSleep& hook) override { before_sleep_.add(hook); }
  void forget(BeforeSleep& hook) override { before_sleep_.remove(hook); }
  i32 readv_now(int fd, std::span<const iovec> buffers) override;
  i32 writev_now(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) override;

  // What is in flight, oldest first.
  u32 size() const { return static_cast<u32>(in_flight_.size()); }
  bool empty() const { return in_flight_.empty(); }
  const Op& pending(u32 i) const;
  // The position of the oldest one of that kind, or size().
  u32 find(Op::Kind kind) const;

  // The i-th ends; so may others before the turn does.
  void complete(u32 i, i32 result);
  // The i-th ends, then the turn does.
  void finish(u32 i, i32 result);
  // The i-th, a read, readv or recvmsg, finds `bytes`; it is still in flight.
  void fill(u32 i, std::span<const u8> bytes);
  // The same, and ends with their number.
  void finish_read(u32 i, std::span<const u8> bytes);
  // Each that is in flight now ends so, in order and in one turn; multishot ones excepted.
  void finish_all(i32 result);
  // The i-th, which is about a file or the time, ends as the host would have it; a pause is over at once.
  void perform(u32 i);
  // The i-th, a multishot one, completes and stays in flight.
  void fire(u32 i, i32 result);
  // Those that have been asked to end do, with -ECANCELED and in one turn.
  void finish_cancelled();
  // Ends the turn, and sleeps.
  void end_turn();
  // What is done for a while instead of sleeping: whether it is, and once of it.
  bool is_eager() const { return before_sleep_.eager(); }
  bool look() { return before_sleep_.look(); }
  // Lets all of it end: first what has been asked to, else whatever `end_one()` ends. False if there is no
  // end to it.
  template <typename EndOne>
  bool drain(EndOne end_one) {
    for (int steps = 0; steps < 100'000 && !empty(); ++steps) {
      if (cancelled.empty()) {
        end_one();
      } else {
        finish_cancelled();
      }
    }
    return empty();
  }

  // What the i-th, a write, writev, send or sendmsg, would write.
  std::vector<u8> bytes_of(u32 i) const;
  // How many bytes the i-th, of any of these kinds, asks for.
  u64 length_of(u32 i) const;

  // What readv_now() finds, one after the other: bytes, or an error. Then nothing.
  struct Found {
    std::vector<u8> bytes;
    i32 error = 0;
  };
  std::deque<Found> found_now;
  u64 room_now = 0;  // how many bytes the last one asked for

  bool writes_now = false;  // whether writev_now() does it, or leaves it to be submitted

  std::vector<Op*> cancelled;  // asked to end, still in flight
  u64 submitted = 0;           // ever

 private:
  std::vector<Op*> in_flight_;
  TurnEndList turn_ends_;
  BeforeSleepList before_sleep_;
};

}  // namespace uvmm
