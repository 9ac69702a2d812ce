// SPDX-License-Identifier: Apache-2.0
// Segments: one half of a descriptor chain, readable or writable, as a list of host buffers that is consumed
// from the front. I/O thread only; points into storage that the chain owns.
//
// The framing carries no meaning (virtio 1.2, 2.7.4): a header may be spread over any number of descriptors,
// which is why nothing here lets a device see where one ends.
#pragma once

#include <sys/uio.h>

#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "vmm/base/types.h"

namespace uvmm {

class Segments {
 public:
  Segments() = default;
  // `pieces` have no empty piece; one whose iov_base is null stands for guest addresses that are not RAM (a
  // hole).
  explicit Segments(std::span<iovec> pieces) : pieces_(pieces) {
    for (const iovec& piece : pieces_) {
      bytes_ += piece.iov_len;
      has_hole_ |= piece.iov_base == nullptr;
    }
  }

  u64 size() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }

  // Whether any byte, consumed ones included, lay outside of RAM: the request must end in an error, with no
  // host I/O on these buffers.
  bool has_hole() const { return has_hole_; }

  // What is left, as buffers for readv and writev. Only when !has_hole().
  std::span<const iovec> iovecs() const { return pieces_; }

  // The next sizeof(T) bytes, copied out once and consumed; nothing, and nothing consumed, if there are fewer
  // or they touch a hole.
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> take() {
    T value;
    if (!copy_out({reinterpret_cast<u8*>(&value), sizeof(T)})) return std::nullopt;
    return value;
  }

  // Copies the next bytes out and consumes them; all of `target` or nothing.
  bool copy_out(std::span<u8> target);
  // Copies `source` into the next bytes and consumes them; all of it or nothing.
  bool copy_in(std::span<const u8> source);

  // Where the last byte is, which is consumed: a request's status. Null if there is none or it lies in a
  // hole.
  u8* take_last_byte();

  // Where the next `bytes` are, as at most `bytes` pieces put into `places`, which are consumed; how many pieces
  // these are. There are that many bytes, and `places` has room.
  u32 take_front(u64 bytes, std::span<iovec> places);

  // Consumes up to `bytes` from the front.
  void drop_front(u64 bytes);
  // Leaves at most the first `bytes`.
  void truncate(u64 bytes);

 private:
  bool front_is_mapped(u64 bytes) const;

  std::span<iovec> pieces_;
  u64 bytes_ = 0;
  bool has_hole_ = false;
};

}  // namespace uvmm
