// SPDX-License-Identifier: Apache-2.0
// Block: the virtio block device (virtio 1.2, 5.2) over a raw image or block device. I/O thread only.
//
// A request is one coroutine. Whatever is acknowledged as durable is: a flush waits for the writes that were
// in flight when it came, then for an fdatasync that succeeded; for a driver without VIRTIO_BLK_F_FLUSH every
// write has such an fdatasync behind it. An image that is cut while the VM runs keeps its capacity: reads
// behind its end fail, writes make it grow again. One that grows has its new capacity when the owner says so.
#pragma once

#include <linux/virtio_blk.h>

#include <optional>
#include <string>
#include <vector>

#include "devices/bounce_pool.h"
#include "devices/disk_image.h"
#include "devices/flush_order.h"
#include "devices/virtio/device.h"
#include "vmm/base/log.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

struct BlockOptions {
  std::string serial;  // at most VIRTIO_BLK_ID_BYTES
  u16 queues = 1;
};

class Block final : public VirtioDevice {
 public:
  static constexpr u16 kQueueSize = 256;
  static constexpr u32 kMaxRanges = 16;                         // of one discard or write-zeroes request
  static constexpr u32 kMaxRangeSectors = 1_GiB / kSectorSize;  // of one range

  Block(Io& io, DiskImage image, const BlockOptions& options, Log& log);

  u16 device_id() const override;
  u64 features() const override;
  std::span<const u16> queue_sizes() const override { return queue_sizes_; }
  std::span<const u8> config() const override;
  void start(u64 features) override { negotiated_ = features; }
  Task<> run(Queue& queue, u16 index) override;
  void reset() override { negotiated_ = 0; }

  const DiskImage& image() const { return image_; }
  // Tells the driver that the disk has `bytes` now, in whole sectors. Refuses fewer than before.
  Result<void> grow(u64 bytes);

 private:
  // Data on its way between a request's buffers and the disk. Both sides advance as parts of it are done.
  struct Transfer {
    Queue& queue;
    Segments& data;
    u64 offset;
    bool is_write;
  };

  Task<> serve(Queue& queue, DescriptorChain chain);
  Task<u8> serve_rarer(Queue& queue, virtio_blk_outhdr header, DescriptorChain& chain);
  std::optional<virtio_blk_outhdr> take_header(DescriptorChain& chain) const;
  Task<u8> flush();
  Task<u8> clear_ranges(Queue& queue, u32 type, Segments list);
  u8 get_id(DescriptorChain& chain) const;

  OpAwaiter attempt(const Transfer& transfer);
  Task<bool> finish(Transfer transfer, i32 done);
  Task<bool> bounce(Transfer transfer);
  Task<bool> sync();
  Task<u8> clear(Queue& queue, u32 type, virtio_blk_discard_write_zeroes range);
  Task<bool> write_zero_pages(Queue& queue, u64 offset, u64 bytes);

  bool within_disk(u64 sector, u64 bytes) const;
  bool is_aligned(const Segments& data) const;
  bool negotiated(unsigned bit) const { return has_feature(negotiated_, bit); }
  void complain(const char* what, u64 offset, i32 done);

  const DiskImage image_;
  const int fd_;
  std::string serial_;
  Log& log_;
  std::vector<u16> queue_sizes_;
  virtio_blk_config config_{};
  u64 negotiated_ = 0;
  std::optional<BouncePool> bounce_;  // with O_DIRECT

  FlushOrder flush_order_;
  // One fdatasync at a time: of two that overlap, either may be the one that is told of a lost write. Flushes
  // that come while one runs share the next one.
  u64 syncs_wanted_ = 0;
  u64 syncs_done_ = 0;
  bool syncing_ = false;
  bool sync_failed_ = false;  // for good: see sync()
  WaitList sync_ended_;

  bool can_punch_ = true;  // until the host says otherwise
  bool can_zero_range_ = true;
};

}  // namespace uvmm
