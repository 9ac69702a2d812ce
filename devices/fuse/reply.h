// SPDX-License-Identifier: Apache-2.0
// Reply: the answer to one request, in the guest's buffers. The place of its header is kept while the payload
// is written behind it; finish() writes the header. Lives in the request's coroutine; I/O thread only.
#pragma once

#include <array>
#include <span>

#include "devices/fuse/wire.h"
#include "devices/virtio/segments.h"

namespace uvmm::fuse {

class Reply {
 public:
  // To a request that is not answered.
  Reply() = default;
  // `writable` has at least a header's bytes, which may lie in pieces. From here on it is used through this.
  explicit Reply(Segments& writable)
      : header_(header_pieces_.data(), writable.take_front(sizeof(fuse_out_header), header_pieces_)),
        body_(writable) {}
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  // How much more it takes.
  u64 room() const { return body_.size(); }

  // Appends all of it, or nothing.
  bool put(std::span<const u8> bytes) {
    if (!body_.copy_in(bytes)) return false;
    written_ += static_cast<u32>(bytes.size());
    return true;
  }
  template <typename T>
    requires(std::is_trivially_copyable_v<T> && !std::is_convertible_v<T, std::span<const u8>>)
  bool put(const T& value) {
    return put(std::span(reinterpret_cast<const u8*>(&value), sizeof value));
  }

  // For the host to write into directly, then to be told how much it was.
  Segments& body() { return body_; }
  void add_written(u32 bytes) { written_ += bytes; }

  // Writes the header; with an error there is no payload. The reply's length.
  u32 finish(u64 unique, i32 error) {
    const u32 length = static_cast<u32>(sizeof(fuse_out_header)) + (error < 0 ? 0 : written_);
    const fuse_out_header header{.len = length, .error = error < 0 ? error : 0, .unique = unique};
    Segments place(header_);
    place.copy_in({reinterpret_cast<const u8*>(&header), sizeof header});
    return length;
  }

 private:
  std::array<iovec, sizeof(fuse_out_header)> header_pieces_;
  std::span<iovec> header_;
  Segments body_;
  u32 written_ = 0;
};

}  // namespace uvmm::fuse
