// SPDX-License-Identifier: Apache-2.0
#include "devices/intrusive_fifo.h"

#include <catch2/catch.hpp>
#include <vector>

namespace uvmm {
namespace {

struct Item {
  int value = 0;
  Item* next = nullptr;
};
using Fifo = IntrusiveFifo<Item, &Item::next>;

std::vector<int> drain(Fifo& fifo) {
  std::vector<int> values;
  while (!fifo.empty()) values.push_back(fifo.pop_front().value);
  return values;
}

TEST_CASE("intrusive fifo: first in, first out; the front may be jumped") {
  Item a{1}, b{2}, c{3};
  Fifo fifo;
  fifo.push_back(b);
  fifo.push_back(c);
  fifo.push_front(a);
  CHECK(fifo.size() == 3);
  CHECK(drain(fifo) == std::vector{1, 2, 3});
  fifo.push_front(c);
  fifo.push_back(a);
  CHECK(drain(fifo) == std::vector{3, 1});
}

TEST_CASE("intrusive fifo: any item can be taken out") {
  const int which = GENERATE(0, 1, 2);
  Item items[3] = {{0}, {1}, {2}};
  Fifo fifo;
  for (Item& item : items) fifo.push_back(item);
  fifo.erase(items[which]);
  CHECK(fifo.size() == 2);
  Item last{9};
  fifo.push_back(last);
  std::vector<int> expected{0, 1, 2};
  expected.erase(expected.begin() + which);
  expected.push_back(9);
  CHECK(drain(fifo) == expected);
}

TEST_CASE("intrusive fifo: the only item can be taken out") {
  Item a{1}, b{2};
  Fifo fifo;
  fifo.push_back(a);
  fifo.erase(a);
  CHECK(fifo.empty());
  fifo.push_back(b);
  CHECK(drain(fifo) == std::vector{2});
}

}  // namespace
}  // namespace uvmm
