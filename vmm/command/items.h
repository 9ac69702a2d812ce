// SPDX-License-Identifier: Apache-2.0
// Items: an option's text taken apart, FIRST[,key=value|,key|,no-key...]; `,,` is a literal comma. Plain
// data.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace uvmm::command {

struct Item {
  std::string key;
  std::optional<std::string> value;  // what follows the first `=`
};

struct Items {
  std::string first;
  std::vector<Item> rest;
};

Items split_items(std::string_view text);

}  // namespace uvmm::command
