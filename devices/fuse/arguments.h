// SPDX-License-Identifier: Apache-2.0
// Arguments: what follows the header of a request, copied out of the guest's memory once and consumed from
// the front. Name: one component of a path that may be given to the host. Values; I/O thread only.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "vmm/base/types.h"

namespace uvmm::fuse {

// Has no slash, is neither empty nor `.` nor `..`, and fits what Linux takes: whatever directory it is looked
// up in, it names an entry of that directory. Points into the request's copy.
class Name {
 public:
  static constexpr std::size_t kMostBytes = 255;

  // `text` ends with its NUL, which is not part of it.
  static std::expected<Name, i32> check(std::string_view text) {
    if (text.size() > kMostBytes) return std::unexpected(-ENAMETOOLONG);
    if (text.empty() || text == "." || text == ".." || text.find('/') != text.npos)
      return std::unexpected(-EINVAL);
    return Name(text);
  }

  const char* c_str() const { return text_.data(); }
  std::string_view text() const { return text_; }

 private:
  explicit Name(std::string_view text) : text_(text) {}
  std::string_view text_;
};

class Arguments {
 public:
  Arguments() = default;
  explicit Arguments(std::span<const u8> bytes) : bytes_(bytes) {}

  std::span<const u8> rest() const { return bytes_; }

  template <typename T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> take() {
    if (bytes_.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }

  // The next text up to its NUL, both consumed; nothing if there is no NUL.
  std::optional<std::string_view> take_text() {
    const auto* const start = reinterpret_cast<const char*>(bytes_.data());
    const std::size_t length = ::strnlen(start, bytes_.size());
    if (length == bytes_.size()) return std::nullopt;
    bytes_ = bytes_.subspan(length + 1);
    return std::string_view(start, length);
  }

  std::expected<Name, i32> take_name() {
    const std::optional<std::string_view> text = take_text();
    if (!text) return std::unexpected(-EINVAL);
    return Name::check(*text);
  }

  // The name that is all that is left: with anything behind its NUL it is none.
  std::expected<Name, i32> last_name() {
    const std::expected<Name, i32> name = take_name();
    if (name && !bytes_.empty()) return std::unexpected(-EINVAL);
    return name;
  }

 private:
  std::span<const u8> bytes_;
};

}  // namespace uvmm::fuse
