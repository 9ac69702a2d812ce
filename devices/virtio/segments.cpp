// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/segments.h"

#include <algorithm>
#include <atomic>

namespace uvmm {

bool Segments::front_is_mapped(u64 bytes) const {
  if (bytes > bytes_) return false;
  for (const iovec& piece : pieces_) {
    if (bytes == 0) break;
    if (!piece.iov_base) return false;
    bytes -= std::min<u64>(bytes, piece.iov_len);
  }
  return true;
}

bool Segments::copy_out(std::span<u8> target) {
  if (!front_is_mapped(target.size())) return false;
  while (!target.empty()) {
    const u64 step = std::min<u64>(target.size(), pieces_.front().iov_len);
    std::memcpy(target.data(), pieces_.front().iov_base, step);
    target = target.subspan(step);
    drop_front(step);
  }
  // The driver may write to its buffers at any time: the compiler must not read them again later on.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return true;
}

bool Segments::copy_in(std::span<const u8> source) {
  if (!front_is_mapped(source.size())) return false;
  while (!source.empty()) {
    const u64 step = std::min<u64>(source.size(), pieces_.front().iov_len);
    std::memcpy(pieces_.front().iov_base, source.data(), step);
    source = source.subspan(step);
    drop_front(step);
  }
  return true;
}

u8* Segments::take_last_byte() {
  if (empty() || !pieces_.back().iov_base) return nullptr;
  const iovec& last = pieces_.back();
  u8* const byte = static_cast<u8*>(last.iov_base) + last.iov_len - 1;
  truncate(bytes_ - 1);
  return byte;
}

u32 Segments::take_front(u64 bytes, std::span<iovec> places) {
  u32 count = 0;
  while (bytes > 0) {
    const u64 step = std::min<u64>(bytes, pieces_.front().iov_len);
    places[count++] = {pieces_.front().iov_base, step};
    bytes -= step;
    drop_front(step);
  }
  return count;
}

void Segments::drop_front(u64 bytes) {
  bytes = std::min(bytes, bytes_);
  bytes_ -= bytes;
  while (bytes > 0) {
    iovec& front = pieces_.front();
    if (bytes < front.iov_len) {
      if (front.iov_base) front.iov_base = static_cast<u8*>(front.iov_base) + bytes;
      front.iov_len -= bytes;
      return;
    }
    bytes -= front.iov_len;
    pieces_ = pieces_.subspan(1);
  }
}

void Segments::truncate(u64 bytes) {
  while (bytes_ > bytes) {
    iovec& last = pieces_.back();
    const u64 excess = bytes_ - bytes;
    if (excess < last.iov_len) {
      last.iov_len -= excess;
      bytes_ = bytes;
      return;
    }
    bytes_ -= last.iov_len;
    pieces_ = pieces_.first(pieces_.size() - 1);
  }
}

}  // namespace uvmm
