// SPDX-License-Identifier: Apache-2.0
// ByteReader: a run of untrusted bytes, consumed from the front. Borrows the bytes; any one thread at a time.
//
// Once anything was asked for that is not there, all that follows yields nothing.
#pragma once

#include <concepts>
#include <cstring>
#include <optional>
#include <span>

#include "vmm/base/types.h"

namespace uvmm {

class ByteReader {
 public:
  explicit ByteReader(std::span<const u8> bytes) : bytes_(bytes) {}

  template <std::unsigned_integral T>
  std::optional<T> take() {
    const auto bytes = take_bytes(sizeof(T));
    if (!bytes) return std::nullopt;
    T value;
    std::memcpy(&value, bytes->data(), sizeof(T));
    return value;
  }

  template <std::unsigned_integral T>
  std::optional<T> take_big_endian() {
    const auto bytes = take_bytes(sizeof(T));
    if (!bytes) return std::nullopt;
    T value = 0;
    for (const u8 byte : *bytes) value = static_cast<T>(value << 8 | byte);
    return value;
  }

  std::optional<std::span<const u8>> take_bytes(u64 count) {
    if (ended_ || count > bytes_.size()) {
      ended_ = true;
      return std::nullopt;
    }
    const auto front = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return front;
  }

  void skip(u64 count) { take_bytes(count); }

 private:
  std::span<const u8> bytes_;
  bool ended_ = false;
};

}  // namespace uvmm
