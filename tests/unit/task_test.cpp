// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/task.h"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

using namespace uvmm;

namespace {

// Something a coroutine can wait for, which the test fires by hand.
struct Event {
  std::coroutine_handle<> waiter;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) noexcept { waiter = waiting; }
  void await_resume() const noexcept {}
  void fire() { std::exchange(waiter, nullptr).resume(); }
};

struct EventRef {
  Event& event;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) const noexcept { event.waiter = waiting; }
  void await_resume() const noexcept {}
};

Task<int> immediate(int value) {
  co_return value;
}

Task<int> after(Event& event, int value) {
  co_await EventRef{event};
  co_return value;
}

Task<> sum_of_many(int& total) {
  for (int i = 0; i < 200'000; ++i) {
    const int one = co_await immediate(1);
    total += one;
  }
}

Task<> wait_then_record(Event& event, std::vector<int>& record, int value) {
  const int got = co_await after(event, value);
  record.push_back(got);
}

Task<> drain_then_record(TaskScope& scope, std::vector<int>& record) {
  co_await scope.drained();
  record.push_back(-1);
}

struct CountsItself {
  int& alive;
  explicit CountsItself(int& count) : alive(count) { ++alive; }
  ~CountsItself() { --alive; }
};

Task<> holds(Event& event, int& alive) {
  const CountsItself held(alive);
  co_await EventRef{event};
}

}  // namespace

TEST_CASE("task: a loop over tasks that finish at once runs in bounded stack") {
  int total = 0;
  TaskScope scope;
  scope.spawn(sum_of_many(total));
  CHECK(total == 200'000);
  CHECK(scope.empty());
}

TEST_CASE("task: nothing runs before it is awaited or spawned") {
  std::vector<int> record;
  Event event;
  {
    const Task<> never = wait_then_record(event, record, 1);
  }
  CHECK_FALSE(event.waiter);
}

TEST_CASE("task: the awaiting coroutine gets the value when the awaited one ends later") {
  std::vector<int> record;
  Event event;
  TaskScope scope;
  scope.spawn(wait_then_record(event, record, 7));
  CHECK(record.empty());
  event.fire();
  CHECK(record == std::vector<int>{7});
}

TEST_CASE("task scope: it is empty, and frames are gone, when the last coroutine has ended") {
  Event first, second;
  int alive = 0;
  TaskScope scope;
  scope.spawn(holds(first, alive));
  scope.spawn(holds(second, alive));
  CHECK(scope.size() == 2);
  second.fire();
  CHECK(alive == 1);
  first.fire();
  CHECK(alive == 0);
  CHECK(scope.empty());
}

TEST_CASE("task scope: drained() resumes after the last one, not before") {
  Event event;
  std::vector<int> record;
  TaskScope work, other;
  work.spawn(wait_then_record(event, record, 1));
  other.spawn(drain_then_record(work, record));
  CHECK(record.empty());
  event.fire();
  CHECK(record == std::vector<int>{1, -1});
}

TEST_CASE("frame pool: a released frame is the next one handed out") {
  FramePool pool;
  void* const frame = pool.allocate(300);
  pool.release(frame, 300);
  CHECK(pool.allocate(290) == frame);
  pool.release(frame, 290);
}

TEST_CASE("frame pool: frames above its largest class come from the heap and go back") {
  FramePool pool;
  void* const frame = pool.allocate(100'000);
  pool.release(frame, 100'000);
  SUCCEED("checked by the address sanitizer");
}
