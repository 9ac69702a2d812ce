// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_deadlines.h"

#include <catch2/catch.hpp>

#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

struct Waiter final : VsockDeadlines::Entry {
  void timed_out() override { ++times; }
  int times = 0;
};

struct Fixture {
  ~Fixture() {
    while (!io.empty()) io.finish(0, -ECANCELED);
  }
  FakeIo io;
  TaskScope tasks;
  VsockDeadlines deadlines{io, tasks};
  Waiter a, b;
};

TEST_CASE("vsock deadlines: each is met in its second or the next, by one timer") {
  Fixture f;
  f.deadlines.set(f.a, 1);
  f.deadlines.set(f.b, 2);
  CHECK(f.io.size() == 1);
  f.io.finish(0, -ETIME);
  CHECK(f.a.times == 0);
  f.io.finish(0, -ETIME);
  CHECK(f.a.times == 1);
  CHECK(f.b.times == 0);
  f.io.finish(0, -ETIME);
  CHECK(f.b.times == 1);
  CHECK(f.io.empty());
}

TEST_CASE("vsock deadlines: one that is cleared or put off does not come") {
  Fixture f;
  f.deadlines.set(f.a, 1);
  f.deadlines.set(f.b, 1);
  f.deadlines.clear(f.a);
  f.io.finish(0, -ETIME);
  f.deadlines.set(f.b, 1);
  f.io.finish(0, -ETIME);
  CHECK(f.a.times + f.b.times == 0);
  f.deadlines.clear(f.b);
  f.io.finish(0, -ETIME);
  CHECK(f.io.empty());
  f.deadlines.clear(f.b);
}

}  // namespace
}  // namespace uvmm
