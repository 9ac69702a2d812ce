// SPDX-License-Identifier: Apache-2.0
// Fs: the virtio file system device (virtio 1.2, 5.11) and in it the server of a directory of the host. I/O
// thread only; lives in the Machine.
//
// It carries requests between the queues and the operations of devices/fuse, and knows of FUSE only the
// headers.
#pragma once

#include <linux/virtio_fs.h>

#include <vector>

#include "devices/fuse/operations.h"
#include "devices/virtio/device.h"

namespace uvmm {

class Fs final : public VirtioDevice {
 public:
  // virtio 1.2, 5.11.2. Without VIRTIO_FS_F_NOTIFICATION the request queues follow at once.
  static constexpr u16 kHighPriorityQueue = 0;
  static constexpr u16 kHighPriorityQueueSize = 256;
  static constexpr u16 kQueueSize = 1024;  // Linux sends no request of more pages than this, less a few
  static constexpr u64 kGatherTime = 20'000'000;  // nanoseconds; for requests without an answer
  static constexpr std::size_t kMostTagBytes = sizeof(virtio_fs_config::tag);

  Fs(Io& io, fuse::Share share, u16 request_queues, const fuse::Limits& limits, Log& log);

  u16 device_id() const override;
  u64 features() const override { return 0; }
  std::span<const u16> queue_sizes() const override { return queue_sizes_; }
  std::span<const u8> config() const override;
  Task<> run(Queue& queue, u16 index) override;
  void reset() override { server_.forget_all(); }

  const fuse::Server& server() const { return server_; }

 private:
  static constexpr std::size_t kMostWaitingArguments = 64;

  Task<> serve(Queue& queue, DescriptorChain chain);
  void gather(Queue& queue, TaskScope& tasks);
  Task<> end_gathering(Queue& queue);
  i32 admit(const fuse_in_header& header, u64 bytes, u64 room) const;
  i32 at_once(const fuse::Operation& operation, const fuse_in_header& header, Segments& readable,
              fuse::Reply& reply);
  Task<i32> wait_for(const fuse::Operation& operation, fuse_in_header header, Segments& readable,
                     fuse::Reply& reply);
  fuse::Node* node_of(const fuse::Operation& operation, const fuse_in_header& header);

  Log& log_;
  std::vector<u16> queue_sizes_;
  virtio_fs_config config_{};
  fuse::Server server_;
  Queue* silent_queue_ = nullptr;  // of whose requests none had an answer
  bool gathers_ = false;
};

}  // namespace uvmm
