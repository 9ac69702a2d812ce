// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/wait_list.h"

#include <catch2/catch.hpp>
#include <string>

#include "vmm/base/task.h"

namespace uvmm {
namespace {

Task<> wait(WaitList& list, std::string& order, char name, int times) {
  for (int i = 0; i < times; ++i) {
    co_await list.wait();
    order += name;
  }
}

TEST_CASE("wait list: one at a time, in the order of arrival") {
  WaitList list;
  TaskScope scope;
  std::string order;
  for (const char name : {'a', 'b', 'c'}) scope.spawn(wait(list, order, name, 1));
  list.resume_one();
  CHECK(order == "a");
  list.resume_one();
  list.resume_one();
  CHECK(order == "abc");
  CHECK(list.empty());
  list.resume_one();
}

TEST_CASE("wait list: resuming all leaves those that come back meanwhile") {
  WaitList list;
  TaskScope scope;
  std::string order;
  for (const char name : {'a', 'b'}) scope.spawn(wait(list, order, name, 2));
  list.resume_all();
  CHECK(order == "ab");
  CHECK_FALSE(list.empty());
  list.resume_all();
  CHECK(order == "abab");
}

TEST_CASE("wait list: it can be waited on again after it was empty") {
  WaitList list;
  TaskScope scope;
  std::string order;
  scope.spawn(wait(list, order, 'a', 1));
  list.resume_one();
  scope.spawn(wait(list, order, 'b', 1));
  scope.spawn(wait(list, order, 'c', 1));
  list.resume_one();
  list.resume_one();
  CHECK(order == "abc");
}

}  // namespace
}  // namespace uvmm
