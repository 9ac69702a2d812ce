// SPDX-License-Identifier: Apache-2.0
#include "devices/flush_order.h"

#include <catch2/catch.hpp>
#include <optional>

#include "vmm/base/task.h"

namespace uvmm {
namespace {

Task<> flush(FlushOrder& order, int& ended) {
  co_await order.earlier_writes();
  ++ended;
}

TEST_CASE("flush order: a flush without writes waits for nothing") {
  FlushOrder order;
  TaskScope scope;
  int ended = 0;
  scope.spawn(flush(order, ended));
  CHECK(ended == 1);
}

TEST_CASE("flush order: a flush waits for the writes before it, in whatever order they end") {
  FlushOrder order;
  TaskScope scope;
  int ended = 0;
  std::optional<FlushOrder::Write> first(order);
  std::optional<FlushOrder::Write> second(order);
  scope.spawn(flush(order, ended));
  first.reset();
  CHECK(ended == 0);
  second.reset();
  CHECK(ended == 1);
}

TEST_CASE("flush order: a flush does not wait for later writes") {
  FlushOrder order;
  TaskScope scope;
  int ended = 0;
  std::optional<FlushOrder::Write> before(order);
  scope.spawn(flush(order, ended));
  const FlushOrder::Write after(order);
  before.reset();
  CHECK(ended == 1);
}

TEST_CASE("flush order: each flush waits for its own writes") {
  FlushOrder order;
  TaskScope scope;
  int first_ended = 0;
  int second_ended = 0;
  std::optional<FlushOrder::Write> first(order);
  scope.spawn(flush(order, first_ended));
  std::optional<FlushOrder::Write> second(order);
  scope.spawn(flush(order, second_ended));
  SECTION("the older write ends first") {
    first.reset();
    CHECK(first_ended == 1);
    CHECK(second_ended == 0);
  }
  SECTION("the younger write ends first") {
    second.reset();
    CHECK(first_ended + second_ended == 0);
    first.reset();
    CHECK(first_ended + second_ended == 2);
  }
}

}  // namespace
}  // namespace uvmm
