// SPDX-License-Identifier: Apache-2.0
// Balloon: the traditional memory balloon (virtio 1.2, 5.5): RAM that the guest does not use goes back to the
// host. I/O thread only, but for actual_bytes() and stat().
//
// It goes in two ways. The driver inflates the balloon with pages that it takes from the guest until it has
// as many as it is asked for; and it reports pages that are free just now and that the guest may use again at
// any time (5.5.6.7). Either way the host takes them back, and the guest finds zeroes when it uses them
// again. Besides, the driver says how its memory is used, when it is asked (5.5.6.3).
#pragma once

#include <linux/virtio_balloon.h>

#include <array>
#include <atomic>
#include <optional>

#include "devices/virtio/device.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/log.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

struct BalloonOptions {
  u64 bytes = 0;  // how large it is to be at first
  bool deflate_on_oom = true;
  bool free_page_reporting = true;
  bool shared_memory = false;  // RAM is a file, which has to have a hole for what is given back
};

class Balloon final : public VirtioDevice {
 public:
  static constexpr u64 kPageBytes = 4096;  // 5.5.6: whatever the guest's pages are
  static constexpr u16 kQueueSize = 128;
  // virtio 1.2, 5.5.2. The queue of reports is the fifth, but drivers until Linux 6.10 count only the queues
  // that there are: so any other is one of reports, the third, too, if the driver has no statistics.
  static constexpr u16 kInflateQueue = 0;
  static constexpr u16 kDeflateQueue = 1;
  static constexpr u16 kStatsQueue = 2;
  static constexpr u16 kReportingQueue = 4;

  Balloon(Io& io, const GuestMemory& memory, const BalloonOptions& options, Log& log);

  u16 device_id() const override;
  u64 features() const override { return features_; }
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  std::span<const u8> config() const override;
  void write_config(u32 offset, std::span<const u8> bytes) override;
  void start(u64 features) override { negotiated_ = features; }
  Task<> run(Queue& queue, u16 index) override;
  void stop() override { stats_wanted_.resume_all(); }
  void reset() override;

  // Asks the guest for a balloon of that size, in whole pages and not more than its RAM.
  void set_target(u64 bytes);

  // How large the guest says that the balloon is. Any thread.
  u64 actual_bytes() const { return actual_bytes_.load(std::memory_order_relaxed); }

  // What the driver last said of VIRTIO_BALLOON_S_*, in the specification's units; nothing if it never did.
  // Any thread.
  std::optional<u64> stat(u16 tag) const;
  // Has the driver say it anew, some time after this. One that has no statistics never does.
  void ask_for_stats();

 private:
  static constexpr std::array<u16, 5> kQueueSizes = {kQueueSize, kQueueSize, kQueueSize, kQueueSize,
                                                     kQueueSize};

  // Pages that follow one another.
  struct Run {
    u64 first = 0;
    u64 pages = 0;
    bool extend(u64 page);
  };

  Task<> inflate(Queue& queue);
  Task<> deflate(Queue& queue);
  Task<> take_stats(Queue& queue);
  Task<> take_reports(Queue& queue);
  Task<> give_back(Run run);
  Task<> give_back(std::span<u8> bytes);

  const GuestMemory& memory_;
  Log& log_;
  const u64 features_;
  const u32 advice_;
  u64 ram_bytes_ = 0;
  virtio_balloon_config config_{};
  std::atomic<u64> actual_bytes_ = 0;
  u64 negotiated_ = 0;
  std::array<std::atomic<u64>, VIRTIO_BALLOON_S_NR> stats_{};
  std::atomic<u32> known_stats_ = 0;  // a bit for each
  bool asked_for_stats_ = false;
  WaitList stats_wanted_;
  bool has_complained_ = false;
};

}  // namespace uvmm
