// SPDX-License-Identifier: Apache-2.0
// FakeRam: a little guest memory. FakeDriver: a driver's side of one split ring in it, honest by default,
// with every field at hand for one that is not. FakeQueue: the device's side of it, ready for a device.
//
//   const auto at = driver.chain().reads(header).writes(512).writes(1).offer();
//   ... driver.memory.read<u8>(at[2]) ... driver.take_used()->len
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "devices/virtio/queue.h"
#include "devices/virtio/spec.h"
#include "vmm/base/guest_memory.h"

namespace uvmm {

// Two regions that adjoin in the guest and not in the host, so that one's end is no end. Around them is
// nothing.
class FakeRam {
 public:
  static constexpr u64 kStart = 1_MiB;
  static constexpr u64 kBoundary = 2_MiB;
  static constexpr u64 kEnd = 3_MiB;
  static constexpr u8 kFill = 0xee;  // what no one has written yet

  FakeRam();

  // A fresh piece of the first region.
  GuestAddress allocate(u64 bytes, u64 alignment = 1);
  // Takes back what was allocated from `start` on, zeroed.
  void rewind(GuestAddress start);
  // Takes all of these back, zeroed: cheaper than a new FakeRam for each of a million fuzz inputs.
  void recycle();
  u64 allocated() const { return next_ - kStart; }

  const GuestMemory& memory() const { return memory_; }

 private:
  struct Free {
    void operator()(u8* pointer) const;
  };
  std::unique_ptr<u8, Free> low_;
  std::unique_ptr<u8, Free> high_;
  GuestMemory memory_;
  u64 next_ = kStart;
};

class FakeDriver {
 public:
  static constexpr u64 kAllFeatures = kCommonFeatures;

  explicit FakeDriver(u16 size = 8, u64 negotiated = kAllFeatures);
  // One ring of several in the same memory, which outlives it.
  explicit FakeDriver(FakeRam& ram, u16 size = 8, u64 negotiated = kAllFeatures);

  class Chain {
   public:
    // A buffer of its own with these contents for the device to read.
    Chain& reads(std::span<const u8> bytes);
    template <typename T>
      requires(std::is_trivially_copyable_v<T> && !std::is_convertible_v<T, std::span<const u8>>)
    Chain& reads(const T& value) {
      return reads(std::span(reinterpret_cast<const u8*>(&value), sizeof(T)));
    }
    // A buffer of its own, filled with FakeRam::kFill, for the device to write.
    Chain& writes(u32 bytes);
    // Buffers at any address at all.
    Chain& reads_at(u64 gpa, u32 bytes);
    Chain& writes_at(u64 gpa, u32 bytes);
    // The descriptors go into a table of their own.
    Chain& indirect();

    // Makes it available; the buffers' addresses in order.
    std::vector<GuestAddress> offer();

   private:
    friend FakeDriver;
    explicit Chain(FakeDriver& driver) : driver_(&driver) {}

    FakeDriver* driver_;
    std::vector<vring_desc> descriptors_;
    bool indirect_ = false;
  };
  Chain chain() { return Chain(*this); }

  // The next used entry, whose descriptors are free again; nothing if the device has published none.
  std::optional<vring_used_elem> take_used();

  // Descriptors that are in no chain, and the one of them that the next chain will begin with.
  u64 free_descriptors() const { return free_descriptors_.size(); }
  u16 next_free() const { return free_descriptors_.back(); }

  // The ring's fields, in guest memory.
  vring_desc& descriptor(u16 index);
  le16& avail_flags() { return field<le16>(layout.driver_area); }
  le16& avail_index() { return field<le16>(layout.driver_area + 2); }
  le16& avail_ring(u16 slot) { return field<le16>(layout.driver_area + 4 + slot * u64{2}); }
  le16& used_event() { return field<le16>(layout.driver_area + 4 + layout.size * u64{2}); }
  le16& used_flags() { return field<le16>(layout.device_area); }
  le16& used_index() { return field<le16>(layout.device_area + 2); }
  vring_used_elem& used_ring(u16 slot) {
    return field<vring_used_elem>(layout.device_area + 4 + slot * u64{8});
  }
  le16& avail_event() { return field<le16>(layout.device_area + 4 + layout.size * u64{8}); }

  // Puts `head` into the available ring, whatever it is.
  void offer_head(u16 head);
  // Writes a descriptor and offers it as a head.
  void offer_descriptor(u16 index, const vring_desc& value);

  template <typename T>
  T& field(GuestAddress gpa) {
    return *reinterpret_cast<T*>(memory.slice(gpa, sizeof(T))->data());
  }
  std::vector<u8> bytes(GuestAddress gpa, u64 length) const;
  GuestAddress allocate(u64 length, u64 alignment = 1) { return ram_.allocate(length, alignment); }

 private:
  std::unique_ptr<FakeRam> own_ram_;
  FakeRam& ram_;
  std::vector<u16> free_descriptors_;
  std::map<u16, std::vector<u16>> chains_;  // by head
  u16 taken_used_ = 0;

 public:
  const GuestMemory& memory;
  const u64 features;
  const Virtqueue::Layout layout;
};

struct FakeInterrupt final : Interrupt {
  void raise() override { ++raised; }
  u32 raised = 0;
};

struct FakeBrokenQueueListener final : BrokenQueueListener {
  void queue_broke() override { ++broke; }
  u32 broke = 0;
};

// `io` is the device's own, VirtioDevice::io(), where a device serves it.
struct FakeQueue {
  FakeQueue(Io& io, FakeDriver& driver)
      : queue(io, driver.memory, driver.layout, driver.features, interrupt, listener, counters) {}

  FakeInterrupt interrupt;
  FakeBrokenQueueListener listener;
  QueueCounters counters;
  Queue queue;
};

}  // namespace uvmm
