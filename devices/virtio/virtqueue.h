// SPDX-License-Identifier: Apache-2.0
// Virtqueue: the device's side of one split ring (virtio 1.2, 2.7). DescriptorChain: one request taken from
// it. I/O thread only. Knows guest memory and nothing else of the host.
//
// Whatever the driver writes is read once, checked, and then used from the copy. A ring that breaks the rules
// is marked broken and not looked at again until the device is reset.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "devices/virtio/segments.h"
#include "devices/virtio/spec.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/types.h"

namespace uvmm {

inline constexpr u16 kMaxQueueSize = 1024;  // so that a whole chain fits in one readv (IOV_MAX)

class Virtqueue;

// A validated request: its buffers lie in RAM (or are marked as holes), readable ones come first, and its
// length is bounded. Move-only; its destructor returns it to the driver with `written` as the
// used length.
class DescriptorChain {
 public:
  DescriptorChain(DescriptorChain&& other) noexcept;
  DescriptorChain& operator=(DescriptorChain&&) = delete;
  ~DescriptorChain();

  Segments readable;
  Segments writable;
  u32 written = 0;  // bytes written to `writable`, from its start (2.7.8.2)

  u16 head() const { return head_; }

  // What is left of `readable`, as buffers for writev, with one of the device's own in front. `readable`
  // stays as it is meanwhile.
  std::span<const iovec> readable_behind(const iovec& front);

 private:
  friend Virtqueue;
  struct Storage {                          // its buffers' list, recycled by the queue
    std::vector<iovec> pieces = {iovec{}};  // the first is for readable_behind()
    u32 readable_pieces = 0;                // those after it
    Storage* next_free = nullptr;
  };
  DescriptorChain(Virtqueue& queue, u16 head, Storage* storage);

  Virtqueue* queue_;
  u16 head_;
  Storage* storage_;
};

class Virtqueue {
 public:
  // Told whenever a chain has been returned and an entry of the used ring waits for publish(), with the
  // length that the driver is told.
  class ReturnListener {
   public:
    virtual void chain_returned(u32 written) = 0;

   protected:
    ~ReturnListener() = default;
  };

  // As the driver programmed them (4.1.4.3).
  struct Layout {
    u16 size = 0;
    GuestAddress descriptors{};  // 16 bytes each, 16-aligned
    GuestAddress driver_area{};  // the available ring, 2-aligned
    GuestAddress device_area{};  // the used ring, 4-aligned
  };

  // Whether this layout can be served: a power of two up to `max_size`, aligned, whole in RAM.
  static bool valid(const GuestMemory& memory, const Layout& layout, u16 max_size);

  // `layout` is valid(). `features` are those negotiated; the ring looks at EVENT_IDX and INDIRECT_DESC.
  Virtqueue(const GuestMemory& memory, const Layout& layout, u64 features,
            ReturnListener* listener = nullptr);
  Virtqueue(const Virtqueue&) = delete;
  Virtqueue& operator=(const Virtqueue&) = delete;
  ~Virtqueue();  // no chain of it is out any more

  // The next request; nothing when the ring is empty or broken.
  std::optional<DescriptorChain> pop();

  // Whether pop() has something to say: a request, or that the ring is broken, which it was not before.
  bool has_news() { return !broken_ && (find_available() || broken_); }

  // Makes the used entries since the last call visible with one store (2.7.8.2), and says whether the driver
  // wants an interrupt for them (2.7.7).
  bool publish();
  u16 unpublished() const { return static_cast<u16>(used_index_ - published_index_); }

  // Asks the driver for a notification at the next request (2.7.10); false if one has come meanwhile, and the
  // ring is to be looked at again.
  bool enable_notifications();
  // Without EVENT_IDX, asks for none; with it, nothing need be said.
  void disable_notifications();

  bool broken() const { return broken_; }
  void mark_broken() { broken_ = true; }
  u16 size() const { return layout_.size; }
  u16 chains_out() const { return chains_out_; }

 private:
  friend DescriptorChain;
  struct Table;

  bool find_available();
  bool collect(u16 head, DescriptorChain::Storage& storage);
  bool enter_indirect_table(const vring_desc& descriptor, Table& table) const;
  void add_buffer(const vring_desc& descriptor, DescriptorChain::Storage& storage) const;
  DescriptorChain::Storage* take_storage();
  void recycle(DescriptorChain::Storage* storage);
  void return_chain(u16 head, u32 written, DescriptorChain::Storage* storage);

  // The fields that both sides use. Aligned, because valid() wants it of the layout.
  u8* available(u64 offset) const { return driver_area_ + offset; }
  u8* used(u64 offset) const { return device_area_ + offset; }

  const GuestMemory& memory_;
  const Layout layout_;
  ReturnListener* const listener_;
  const bool event_index_;
  const bool indirect_;
  const u8* descriptors_;  // the ring's three parts, where they are mapped
  u8* driver_area_;
  u8* device_area_;

  bool broken_ = false;
  bool notifications_enabled_ = true;  // without EVENT_IDX: what the used ring's flags say
  u16 chains_out_ = 0;
  u16 available_index_ = 0;  // the next entry of the available ring to take
  u16 available_end_ = 0;    // the driver's index, as last read
  u16 used_index_ = 0;       // the next entry of the used ring to write
  u16 published_index_ = 0;  // what the driver has been shown

  std::vector<bool> in_flight_;                                      // by head
  std::vector<std::unique_ptr<DescriptorChain::Storage>> storages_;  // all there are: at most size()
  DescriptorChain::Storage* free_storage_ = nullptr;
};

}  // namespace uvmm
