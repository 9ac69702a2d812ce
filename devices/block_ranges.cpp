// SPDX-License-Identifier: Apache-2.0
// Block's discard and write-zeroes requests.
#include <fcntl.h>

#include <algorithm>
#include <array>

#include "devices/block.h"
#include "devices/virtio/spec.h"

namespace uvmm {
namespace {

constexpr u32 kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr u32 kZero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

// Zeros, 256 KiB at a time. The page is aligned for direct I/O.
alignas(kPageSize) constexpr std::array<u8, kPageSize> kZeroPage{};
constexpr u64 kZeroPages = 64;

std::array<iovec, kZeroPages> zero_pages() {
  std::array<iovec, kZeroPages> pages;
  pages.fill({const_cast<u8*>(kZeroPage.data()), kZeroPage.size()});
  return pages;
}

}  // namespace

Task<u8> Block::clear_ranges(Queue& queue, u32 type, Segments list) {  // virtio 1.2, 5.2.6.2
  const bool is_discard = type == VIRTIO_BLK_T_DISCARD;
  if (!negotiated(is_discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES)) {
    co_return VIRTIO_BLK_S_UNSUPP;
  }
  const u64 count = list.size() / sizeof(virtio_blk_discard_write_zeroes);
  if (list.size() % sizeof(virtio_blk_discard_write_zeroes) || count == 0 || count > kMaxRanges) {
    co_return VIRTIO_BLK_S_IOERR;
  }
  // All are checked before the first is touched.
  std::array<virtio_blk_discard_write_zeroes, kMaxRanges> ranges;
  const u32 known_flags = is_discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
  for (u64 i = 0; i < count; ++i) {
    ranges[i] = *list.take<virtio_blk_discard_write_zeroes>();
    if (ranges[i].flags & ~known_flags) co_return VIRTIO_BLK_S_UNSUPP;
    if (ranges[i].num_sectors > kMaxRangeSectors) co_return VIRTIO_BLK_S_IOERR;
    if (!within_disk(ranges[i].sector, u64{ranges[i].num_sectors} * kSectorSize)) {
      co_return VIRTIO_BLK_S_IOERR;
    }
  }
  const FlushOrder::Write in_flight(flush_order_);
  for (u64 i = 0; i < count; ++i) {
    const u8 answer = co_await clear(queue, type, ranges[i]);
    if (answer != VIRTIO_BLK_S_OK) co_return answer;
  }
  if (negotiated(VIRTIO_BLK_F_FLUSH)) co_return VIRTIO_BLK_S_OK;
  const bool durable = co_await sync();  // write-through
  co_return durable ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

// One range, by the cheapest way that the host and the request allow.
Task<u8> Block::clear(Queue& queue, u32 type, virtio_blk_discard_write_zeroes range) {
  const u64 offset = range.sector * kSectorSize;
  const u64 bytes = u64{range.num_sectors} * kSectorSize;
  const bool is_discard = type == VIRTIO_BLK_T_DISCARD;
  if (queue.stopped()) co_return VIRTIO_BLK_S_IOERR;

  // virtio 1.2, 5.2.6.2: only with the flag may zeroes give up their blocks.
  if ((is_discard || range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) && can_punch_) {
    const i32 done = co_await io_.fallocate(fd_, kPunch, offset, bytes);
    if (done == 0) co_return VIRTIO_BLK_S_OK;
    if (done != -EOPNOTSUPP) {
      complain("discard", offset, done);
      co_return VIRTIO_BLK_S_IOERR;
    }
    can_punch_ = false;
  }
  if (is_discard) co_return VIRTIO_BLK_S_UNSUPP;

  if (can_zero_range_) {
    const i32 done = co_await io_.fallocate(fd_, kZero, offset, bytes);
    if (done == 0) co_return VIRTIO_BLK_S_OK;
    if (done != -EOPNOTSUPP) {
      complain("write zeroes", offset, done);
      co_return VIRTIO_BLK_S_IOERR;
    }
    can_zero_range_ = false;
  }
  const bool written = co_await write_zero_pages(queue, offset, bytes);
  co_return written ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

Task<bool> Block::write_zero_pages(Queue& queue, u64 offset, u64 bytes) {
  while (bytes > 0) {
    std::array<iovec, kZeroPages> pages = zero_pages();  // a transfer uses up its list
    Segments data{std::span(pages)};
    data.truncate(bytes);
    const u64 part = data.size();
    const Transfer transfer{queue, data, offset, true};
    const i32 first = co_await attempt(transfer);
    const bool finished = co_await finish(transfer, first);
    if (!finished) co_return false;
    offset += part;
    bytes -= part;
  }
  co_return true;
}

}  // namespace uvmm
