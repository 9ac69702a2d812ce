// SPDX-License-Identifier: Apache-2.0
#include "devices/block.h"

#include <fcntl.h>

#include <algorithm>
#include <array>

#include "devices/virtio/spec.h"

namespace uvmm {
namespace {

static_assert(sizeof(virtio_blk_outhdr) == 16);
static_assert(sizeof(virtio_blk_discard_write_zeroes) == 16);
static_assert(offsetof(virtio_blk_config, num_queues) == 34);
static_assert(offsetof(virtio_blk_config, max_discard_sectors) == 36);
static_assert(offsetof(virtio_blk_config, write_zeroes_may_unmap) == 56);

constexpr u32 kBounceBuffers = 8;
constexpr u64 kRefusalPause = 1'000'000;  // nanoseconds
constexpr u32 kMaxRefusals = 8;           // in a row

// What to make of the count that a read or write ended with.
class Progress {
 public:
  // Parts are counted in `granularity`, so that what is left stays aligned.
  explicit Progress(u32 granularity) : granularity_(granularity) {}

  // How far to go on from there; 0: try the same again; nothing: give up.
  std::optional<u64> after(i32 done) {
    const u64 part = done > 0 ? align_down(static_cast<u64>(done), granularity_) : 0;
    if (part > 0) {
      refusals_ = 0;
      return part;
    }
    // A read that finds no byte is behind the end of a file that was cut.
    const bool may_pass = done > 0 || done == -EAGAIN || done == -EINTR;
    if (!may_pass || ++refusals_ > kMaxRefusals) return std::nullopt;
    return 0;
  }

 private:
  u32 granularity_;
  u32 refusals_ = 0;
};

u16 in_blocks(u32 bytes, u32 block_size) {
  return static_cast<u16>(std::min<u32>(bytes / block_size, 0xffff));
}

bool is_transfer(u32 type) {
  return type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_OUT;
}
bool changes_disk(u32 type) {
  return type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
}

}  // namespace

Block::Block(Io& io, DiskImage image, const BlockOptions& options, Log& log)
    : VirtioDevice(io),
      image_(std::move(image)),
      fd_(image_.fd()),
      serial_(options.serial),
      log_(log),
      queue_sizes_(std::max<u16>(options.queues, 1), kQueueSize) {
  const DiskImage::Geometry& geometry = image_.geometry();
  if (geometry.memory_alignment > 1 || geometry.offset_alignment > kSectorSize)
    bounce_.emplace(kBounceBuffers);
  serial_.resize(VIRTIO_BLK_ID_BYTES);

  const u32 block_size = geometry.logical_block_size;
  config_.capacity = geometry.bytes / kSectorSize;
  config_.seg_max = kQueueSize - 2;  // a request has its header and its status besides
  config_.blk_size = block_size;
  config_.physical_block_exp =
      static_cast<u8>(std::countr_zero(geometry.physical_block_size) - std::countr_zero(block_size));
  config_.min_io_size = in_blocks(geometry.physical_block_size, block_size);
  config_.opt_io_size = in_blocks(geometry.optimal_io_size, block_size);
  config_.num_queues = static_cast<u16>(queue_sizes_.size());
  config_.max_discard_sectors = kMaxRangeSectors;
  config_.max_discard_seg = kMaxRanges;
  config_.discard_sector_alignment = geometry.physical_block_size / kSectorSize;
  config_.max_write_zeroes_sectors = kMaxRangeSectors;
  config_.max_write_zeroes_seg = kMaxRanges;
  config_.write_zeroes_may_unmap = geometry.can_discard;
}

u16 Block::device_id() const {
  return VIRTIO_ID_BLOCK;
}

u64 Block::features() const {
  u64 offered = feature(VIRTIO_BLK_F_SEG_MAX) | feature(VIRTIO_BLK_F_BLK_SIZE) |
                feature(VIRTIO_BLK_F_TOPOLOGY) | feature(VIRTIO_BLK_F_FLUSH);
  if (queue_sizes_.size() > 1) offered |= feature(VIRTIO_BLK_F_MQ);
  if (image_.read_only()) return offered | feature(VIRTIO_BLK_F_RO);
  offered |= feature(VIRTIO_BLK_F_WRITE_ZEROES);
  if (image_.geometry().can_discard) offered |= feature(VIRTIO_BLK_F_DISCARD);
  return offered;
}

std::span<const u8> Block::config() const {
  return {reinterpret_cast<const u8*>(&config_), sizeof config_};
}

Result<void> Block::grow(u64 bytes) {
  const u64 before = config_.capacity * kSectorSize;
  if (bytes < before) {
    return with_hint(
        fail(ErrorKind::kBusy, "cannot resize disk {}: it has {} bytes now, and the guest uses {}",
             image_.name(), bytes, before),
        fmt::format("a disk only grows: `truncate -s {}` makes it what it was", before));
  }
  if (bytes == before) return {};
  config_.capacity = bytes / kSectorSize;
  config_changed();  // virtio 1.2, 5.2.5.1: the driver reads the capacity again
  return {};
}

Task<> Block::run(Queue& queue, u16) {
  TaskScope requests;
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    requests.spawn(serve(queue, std::move(*chain)));
  }
  co_await requests.drained();
}

Task<> Block::serve(Queue& queue, DescriptorChain chain) {  // virtio 1.2, 5.2.6
  u8* const status = chain.writable.take_last_byte();
  if (!status || chain.readable.size() < sizeof(virtio_blk_outhdr)) {
    log_.guest("disk {}: a request without header or status", image_.name());
    queue.mark_broken();
    co_return;
  }
  const u64 bytes_before_status = chain.writable.size();
  const std::optional<virtio_blk_outhdr> header = take_header(chain);
  u8 outcome = VIRTIO_BLK_S_IOERR;
  if (header && is_transfer(header->type)) {
    const bool is_write = header->type == VIRTIO_BLK_T_OUT;
    const Transfer transfer{queue, is_write ? chain.readable : chain.writable, header->sector * kSectorSize,
                            is_write};
    const u64 bytes = transfer.data.size();
    if (within_disk(header->sector, bytes)) {
      std::optional<FlushOrder::Write> in_flight;
      if (is_write) in_flight.emplace(flush_order_);
      i32 done = 0;
      if (is_aligned(transfer.data)) {
        const i32 first = co_await attempt(transfer);
        done = first;
      }
      bool complete = done > 0 && static_cast<u64>(done) == bytes;
      if (!complete) {
        const bool finished = co_await finish(transfer, done);
        complete = finished;
      }
      // virtio 1.2, 5.2.6.2: without VIRTIO_BLK_F_FLUSH a write that has completed is stable. By the sync
      // that all share: of several synchronous writes at once only one may be told what the host has lost.
      if (complete && is_write && !negotiated(VIRTIO_BLK_F_FLUSH)) {
        const bool durable = co_await sync();
        complete = durable;
      }
      if (complete) outcome = VIRTIO_BLK_S_OK;
      if (complete && !is_write) chain.written = static_cast<u32>(bytes);
    }
  } else if (header) {
    const u8 answer = co_await serve_rarer(queue, *header, chain);
    outcome = answer;
  }
  *status = outcome;
  if (outcome == VIRTIO_BLK_S_IOERR) errors_.add();
  // virtio 1.2, 2.7.8.2: the used length counts bytes from the start, without a gap.
  if (chain.written == bytes_before_status) ++chain.written;
}

Task<u8> Block::serve_rarer(Queue& queue, virtio_blk_outhdr header, DescriptorChain& chain) {
  switch (header.type) {
    case VIRTIO_BLK_T_FLUSH: {
      const u8 answer = co_await flush();
      co_return answer;
    }
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES: {
      const Segments list = chain.readable;
      const u8 answer = co_await clear_ranges(queue, header.type, list);
      co_return answer;
    }
    case VIRTIO_BLK_T_GET_ID:
      co_return get_id(chain);
    default:
      co_return VIRTIO_BLK_S_UNSUPP;
  }
}

// The header, unless the request fails without a look at it.
std::optional<virtio_blk_outhdr> Block::take_header(DescriptorChain& chain) const {
  if (chain.readable.has_hole() || chain.writable.has_hole()) return std::nullopt;
  const auto header = chain.readable.take<virtio_blk_outhdr>();
  // virtio 1.2, 5.2.6.2: a device that offers VIRTIO_BLK_F_RO fails writes.
  if (header && image_.read_only() && changes_disk(header->type)) return std::nullopt;
  return header;
}

bool Block::within_disk(u64 sector, u64 bytes) const {
  const u64 alignment = image_.geometry().offset_alignment;  // at least a sector
  if (bytes == 0 || ((bytes | sector * kSectorSize) & (alignment - 1))) return false;
  return sector <= config_.capacity && bytes / kSectorSize <= config_.capacity - sector;
}

// Whether the host takes these buffers as they are.
bool Block::is_aligned(const Segments& data) const {
  if (!bounce_) return true;
  const u64 of_length = image_.geometry().offset_alignment - 1;
  const u64 of_address = image_.geometry().memory_alignment - 1;
  return std::ranges::all_of(data.iovecs(), [&](const iovec& buffer) {
    return (reinterpret_cast<u64>(buffer.iov_base) & of_address) == 0 && (buffer.iov_len & of_length) == 0;
  });
}

OpAwaiter Block::attempt(const Transfer& transfer) {
  const std::span<const iovec> buffers = transfer.data.iovecs();
  return transfer.is_write ? io_.writev(fd_, buffers, transfer.offset)
                           : io_.readv(fd_, buffers, transfer.offset);
}

// The rest of a transfer whose first attempt ended with `done`. True once all of it is done.
Task<bool> Block::finish(Transfer transfer, i32 done) {
  if (!is_aligned(transfer.data)) {
    const bool bounced = co_await bounce(transfer);
    co_return bounced;
  }
  Progress progress(bounce_ ? image_.geometry().offset_alignment : 1);
  for (;;) {
    const std::optional<u64> part = progress.after(done);
    if (!part) complain(transfer.is_write ? "write" : "read", transfer.offset, done);
    if (!part) co_return false;
    transfer.data.drop_front(*part);
    transfer.offset += *part;
    if (transfer.data.empty()) co_return true;
    if (transfer.queue.stopped()) co_return false;
    if (*part == 0) co_await io_.sleep(kRefusalPause);
    const i32 next = co_await attempt(transfer);
    done = next;
  }
}

// The same by way of an aligned buffer, piece by piece.
Task<bool> Block::bounce(Transfer transfer) {
  while (bounce_->empty()) co_await bounce_->returned();
  const BouncePool::Lease lease(*bounce_);
  while (!transfer.data.empty()) {
    iovec buffer{lease.bytes().data(), std::min(transfer.data.size(), BouncePool::kBufferBytes)};
    const std::span<u8> bytes(lease.bytes().first(buffer.iov_len));
    Segments whole(std::span(&buffer, 1));
    if (transfer.is_write) transfer.data.copy_out(bytes);

    const Transfer piece{transfer.queue, whole, transfer.offset, transfer.is_write};
    const i32 first = co_await attempt(piece);
    const bool finished = co_await finish(piece, first);
    if (!finished) co_return false;
    if (!transfer.is_write) transfer.data.copy_in(bytes);
    transfer.offset += bytes.size();
  }
  co_return true;
}

Task<u8> Block::flush() {
  // virtio 1.2, 5.2.6.1: a driver must not send it without having negotiated it.
  if (!negotiated(VIRTIO_BLK_F_FLUSH)) co_return VIRTIO_BLK_S_UNSUPP;
  co_await flush_order_.earlier_writes();
  const bool durable = co_await sync();
  co_return durable ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

// True once everything that was written before the call is durable.
//
// When the host fails to write back a page it says so once, in one fdatasync, marks the page clean, and lets
// the next one succeed although the data is gone. So after a failure none succeeds any more: the guest must
// not be told that its journal is on disk.
Task<bool> Block::sync() {
  const u64 mine = ++syncs_wanted_;
  while (syncs_done_ < mine) {
    if (syncing_) {
      co_await sync_ended_.wait();
      continue;
    }
    if (sync_failed_) co_return false;
    syncing_ = true;
    const u64 covered = syncs_wanted_;
    const i32 done = co_await io_.fdatasync(fd_);
    syncing_ = false;
    if (done == 0) syncs_done_ = covered;
    // These mean that it did not take place, so that no loss went by.
    const bool untried = done == -ECANCELED || done == -EINTR || done == -EAGAIN;
    if (done < 0 && !untried) {
      sync_failed_ = true;
      log_.event(Event::Kind::kDeviceError, "disk " + image_.name(),
                 "cannot flush: {}; no later flush will succeed, since what was lost is unknown",
                 error_text(-done));
    }
    sync_ended_.resume_all();
    if (done < 0) co_return false;
  }
  co_return true;
}

u8 Block::get_id(DescriptorChain& chain) const {
  const u64 bytes = std::min<u64>(chain.writable.size(), serial_.size());
  chain.writable.copy_in({reinterpret_cast<const u8*>(serial_.data()), bytes});
  chain.written = static_cast<u32>(bytes);
  return VIRTIO_BLK_S_OK;
}

void Block::complain(const char* what, u64 offset, i32 done) {
  if (done == -ECANCELED) return;
  const std::string reason = done < 0 ? error_text(-done) : "the image ends there";
  log_.guest_event(Event::Kind::kDeviceError, "disk " + image_.name(), "cannot {} at byte {}: {}", what,
                   offset, reason);
}

}  // namespace uvmm
