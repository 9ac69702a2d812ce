// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/helper.h"

#include <atomic>
#include <catch2/catch.hpp>

#include "tests/fakes/fake_io.h"
#include "vmm/base/uring.h"

namespace uvmm {
namespace {

struct Count final : Helper::Job {
  i32 call() override {
    while (!may_end) continue;
    return ++*counter;
  }
  std::atomic<bool> may_end = true;
  int* counter = nullptr;
};

Task<> run(Helper& helper, Io& io, Count& job, i32& result) {
  const i32 done = co_await helper.run(io, job);
  result = done;
}

TEST_CASE("helper: jobs run one after the other, and their results come back") {
  FakeIo io;
  Helper helper;
  TaskScope tasks;
  int counter = 0;
  Count jobs[3];
  i32 results[3] = {};
  for (int i = 0; i < 3; ++i) {
    jobs[i].counter = &counter;
    tasks.spawn(run(helper, io, jobs[i], results[i]));
  }
  while (!io.empty()) io.perform(0);
  CHECK(tasks.empty());
  CHECK(results[0] == 1);
  CHECK(results[1] == 2);
  CHECK(results[2] == 3);
}

TEST_CASE("helper: a wait that is cancelled ends with the job, not before") {
  FakeIo io;
  Helper helper;
  TaskScope tasks;
  int counter = 0;
  Count job;
  job.counter = &counter;
  i32 result = 0;
  tasks.spawn(run(helper, io, job, result));
  io.finish_all(-ECANCELED);
  CHECK(tasks.empty());
  CHECK(result == 1);
}

TEST_CASE("helper: the I/O thread turns while a job takes its time") {
  const auto uring = std::move(*Uring::create(16));
  Helper helper;
  TaskScope tasks;
  int counter = 0;
  Count job;
  job.counter = &counter;
  job.may_end = false;
  i32 result = 0;
  const auto pass = [](Uring& ring, Count& waiting) -> Task<> {
    co_await ring.yield();
    waiting.may_end = true;
  };
  tasks.spawn(run(helper, *uring, job, result));
  tasks.spawn(pass(*uring, job));
  uring->post([&] {});
  const auto stop = [](Uring& ring, TaskScope& others) -> Task<> {
    co_await others.drained();
    ring.stop();
  };
  TaskScope watcher;
  watcher.spawn(stop(*uring, tasks));
  uring->run();
  uring->drain();
  CHECK(result == 1);
}

}  // namespace
}  // namespace uvmm
