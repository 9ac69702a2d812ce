// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/io.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace uvmm;

namespace {

struct Hook : TurnEnd {
  std::vector<int>& record;
  int value;
  Hook(std::vector<int>& r, int v)
      : TurnEnd{[](TurnEnd& self) {
          Hook& hook = static_cast<Hook&>(self);
          hook.record.push_back(hook.value);
        }},
        record(r),
        value(v) {}
};

// Remembers what was asked of it.
struct RecordingIo : Io {
  std::vector<Op*> submitted, cancelled;
  void submit(Op& op) override { submitted.push_back(&op); }
  void cancel(Op& op) override { cancelled.push_back(&op); }
  void at_turn_end(TurnEnd&) override {}
  void forget(TurnEnd&) override {}
  void before_sleep(BeforeSleep&) override {}
  void forget(BeforeSleep&) override {}
  i32 readv_now(int, std::span<const iovec>) override { return -EAGAIN; }
  i32 writev_now(int, std::span<const iovec>, u64, u32) override { return -EAGAIN; }
};

void ignore(Op&, i32, bool) {}

}  // namespace

TEST_CASE("turn end: hooks run once each, in the order they were added") {
  std::vector<int> record;
  Hook first(record, 1), second(record, 2);
  TurnEndList list;
  list.add(first);
  list.add(second);
  list.add(first);
  list.run();
  CHECK(record == std::vector<int>{1, 2});
  CHECK(list.empty());
}

TEST_CASE("before sleep: each hook looks, and with the last look is off the list") {
  struct Look : BeforeSleep {
    int looks = 0, last_looks = 0;
    bool finds = false;
    Look() {
      look = [](BeforeSleep& hook, bool last) {
        Look& self = static_cast<Look&>(hook);
        ++(last ? self.last_looks : self.looks);
        return self.finds;
      };
    }
  };
  Look first, second;
  BeforeSleepList list;
  list.add(first);
  list.add(second);
  list.add(first);
  CHECK_FALSE(list.eager());
  second.eager = true;
  CHECK(list.eager());
  CHECK_FALSE(list.look());
  first.finds = true;
  CHECK(list.look());
  CHECK(list.look_last());
  CHECK(first.looks == 2);
  CHECK(second.looks == 2);
  CHECK(first.last_looks == 1);
  CHECK(second.last_looks == 1);
  CHECK(list.empty());
  CHECK_FALSE(list.look_last());
}

TEST_CASE("turn end: a forgotten hook does not run, wherever it stood") {
  std::vector<int> record;
  Hook first(record, 1), second(record, 2), third(record, 3);
  for (Hook* const gone : {&first, &second, &third}) {
    record.clear();
    TurnEndList list;
    for (Hook* const hook : {&first, &second, &third}) list.add(*hook);
    list.remove(*gone);
    list.add(*gone);  // and may come back, last
    list.run();
    CHECK(record.size() == 3);
    CHECK(record.back() == gone->value);
  }
}

TEST_CASE("op group: it passes operations on, and knows which are in flight") {
  RecordingIo inner;
  OpGroup group(inner);
  Op first, second, third;
  for (Op* const op : {&first, &second, &third}) {
    op->on_complete = ignore;
    group.submit(*op);
  }
  CHECK(inner.submitted == std::vector<Op*>{&first, &second, &third});

  second.complete(0);
  group.cancel_all();
  CHECK(inner.cancelled == std::vector<Op*>{&third, &first});

  first.complete(-ECANCELED);
  CHECK_FALSE(group.idle());
  third.complete(5);
  CHECK(group.idle());
}

TEST_CASE("op group: an operation that will complete again stays in flight") {
  RecordingIo inner;
  OpGroup group(inner);
  Op poll;
  poll.on_complete = ignore;
  group.submit(poll);
  poll.complete(POLLIN, true);
  CHECK_FALSE(group.idle());
  poll.complete(-ECANCELED);
  CHECK(group.idle());
}
