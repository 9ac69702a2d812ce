// SPDX-License-Identifier: Apache-2.0
// A virtio block driver (virtio 1.2, 5.2).
#pragma once

#include <linux/virtio_blk.h>

#include "virtio.h"

namespace payload {

inline constexpr u32 kSector = 512;

// A disk that is served one request at a time.
class Disk {
 public:
  explicit Disk(VirtioDevice& device)
      : features_(device.negotiate(kReadOnly | kFlush)), queue_(device.set_up_queue(0)) {
    device.driver_ok();
    capacity_ = device.config<u64>(0);
  }

  bool read_only() const { return features_ & kReadOnly; }
  u64 capacity() const { return capacity_; }

  u8 read(u64 sector, void* data, u32 bytes) { return request(VIRTIO_BLK_T_IN, sector, data, bytes, true); }
  u8 write(u64 sector, void* data, u32 bytes) {
    return request(VIRTIO_BLK_T_OUT, sector, data, bytes, false);
  }
  u8 get_id(char* data) { return request(VIRTIO_BLK_T_GET_ID, 0, data, VIRTIO_BLK_ID_BYTES, true); }
  u8 flush() {
    if (!(features_ & kFlush)) fail("no flush");
    start(VIRTIO_BLK_T_FLUSH, 0);
    queue_.transfer({{&request_->header, sizeof request_->header, false}, {&request_->status, 1, true}});
    return request_->status;
  }

 private:
  static constexpr u64 kReadOnly = feature(VIRTIO_BLK_F_RO);
  static constexpr u64 kFlush = feature(VIRTIO_BLK_F_FLUSH);

  struct Request {
    virtio_blk_outhdr header;
    u8 status;
  };

  void start(u32 type, u64 sector) {
    request_->header = {.type = type, .ioprio = 0, .sector = sector};
    request_->status = 0xff;
  }
  u8 request(u32 type, u64 sector, void* data, u32 bytes, bool device_writes) {
    start(type, sector);
    const u32 written = queue_.transfer({{&request_->header, sizeof request_->header, false},
                                         {data, bytes, device_writes},
                                         {&request_->status, 1, true}});
    if (request_->status == VIRTIO_BLK_S_OK && written != (device_writes ? bytes + 1 : 1)) {
      fail("request ", type, " wrote ", written, " bytes");
    }
    return request_->status;
  }

  u64 features_;
  VirtQueue queue_;
  u64 capacity_ = 0;
  Request* request_ = static_cast<Request*>(allocate(sizeof(Request), 16));
};

}  // namespace payload
