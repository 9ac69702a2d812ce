// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/items.h"

namespace uvmm::command {
namespace {

// Takes the text up to the next single comma off `text`; false if there was none and all is taken.
bool take_piece(std::string_view& text, std::string& piece) {
  piece.clear();
  while (!text.empty()) {
    const char byte = text.front();
    text.remove_prefix(1);
    if (byte == ',') {
      if (!text.starts_with(',')) return true;
      text.remove_prefix(1);
    }
    piece += byte;
  }
  return false;
}

}  // namespace

Items split_items(std::string_view text) {
  Items items;
  bool more = take_piece(text, items.first);
  while (more) {
    std::string piece;
    more = take_piece(text, piece);
    Item& item = items.rest.emplace_back();
    const std::size_t equals = piece.find('=');
    item.key = piece.substr(0, equals);
    if (equals != piece.npos) item.value = piece.substr(equals + 1);
  }
  return items;
}

}  // namespace uvmm::command
