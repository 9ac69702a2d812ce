// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/virtqueue.h"

#include <atomic>
#include <bit>
#include <cassert>
#include <utility>

namespace uvmm {
namespace {

// virtio 1.2, 2.7.6 and 2.7.8: both rings are flags and an index, then the entries, then the event index.
constexpr u64 kFlags = 0;
constexpr u64 kIndex = 2;
constexpr u64 kRing = 4;
constexpr u64 kMaxChainBytes = 4_GiB;  // virtio 1.2, 2.7.5.2

constexpr u64 descriptors_bytes(u16 size) {
  return u64{size} * sizeof(vring_desc);
}
constexpr u64 used_event_offset(u16 size) {
  return kRing + u64{size} * sizeof(le16);
}
constexpr u64 avail_event_offset(u16 size) {
  return kRing + u64{size} * sizeof(vring_used_elem);
}

u16 load(u8* field, std::memory_order order) {
  return std::atomic_ref<le16>(*reinterpret_cast<le16*>(field)).load(order);
}
void store(u8* field, u16 value, std::memory_order order) {
  std::atomic_ref<le16>(*reinterpret_cast<le16*>(field)).store(value, order);
}

// A copy of what the driver may change at any time. The fence keeps the compiler from reading it twice.
vring_desc read_once(const u8* entry) {
  vring_desc copy;
  std::memcpy(&copy, entry, sizeof copy);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return copy;
}

}  // namespace

DescriptorChain::DescriptorChain(Virtqueue& queue, u16 head, Storage* storage)
    : readable(std::span(storage->pieces).subspan(1, storage->readable_pieces)),
      writable(std::span(storage->pieces).subspan(1 + storage->readable_pieces)),
      queue_(&queue),
      head_(head),
      storage_(storage) {}

DescriptorChain::DescriptorChain(DescriptorChain&& other) noexcept
    : readable(other.readable),
      writable(other.writable),
      written(other.written),
      queue_(std::exchange(other.queue_, nullptr)),
      head_(other.head_),
      storage_(other.storage_) {}

DescriptorChain::~DescriptorChain() {
  if (queue_) queue_->return_chain(head_, written, storage_);
}

std::span<const iovec> DescriptorChain::readable_behind(const iovec& front) {
  // Before what is left lies what was consumed, or, if nothing was, the spare first piece.
  const std::span<const iovec> left = readable.iovecs();
  const auto start = static_cast<u64>(left.data() - storage_->pieces.data()) - 1;
  storage_->pieces[start] = front;
  return std::span(storage_->pieces).subspan(start, 1 + left.size());
}

// Where descriptors are read from: the ring's own table, or the indirect one of a chain.
struct Virtqueue::Table {
  const u8* entries;
  u32 count;
  bool indirect;
};

bool Virtqueue::valid(const GuestMemory& memory, const Layout& layout, u16 max_size) {
  if (!std::has_single_bit(layout.size) || layout.size > max_size) return false;
  // virtio 1.2, 2.7: the alignment of each part.
  if (address(layout.descriptors) % 16 || address(layout.driver_area) % 2 || address(layout.device_area) % 4)
    return false;
  return memory.slice(layout.descriptors, descriptors_bytes(layout.size)) &&
         memory.slice(layout.driver_area, used_event_offset(layout.size) + sizeof(le16)) &&
         memory.slice(layout.device_area, avail_event_offset(layout.size) + sizeof(le16));
}

Virtqueue::Virtqueue(const GuestMemory& memory, const Layout& layout, u64 features, ReturnListener* listener)
    : memory_(memory),
      layout_(layout),
      listener_(listener),
      event_index_(has_feature(features, VIRTIO_RING_F_EVENT_IDX)),
      indirect_(has_feature(features, VIRTIO_RING_F_INDIRECT_DESC)),
      descriptors_(memory.prefix(layout.descriptors, 1).data()),
      driver_area_(memory.prefix(layout.driver_area, 1).data()),
      device_area_(memory.prefix(layout.device_area, 1).data()),
      in_flight_(layout.size) {
  assert(valid(memory, layout, layout.size));
}

Virtqueue::~Virtqueue() {
  assert(chains_out_ == 0);
}

// Looks at the driver's index when all it had shown before has been taken.
bool Virtqueue::find_available() {
  if (available_index_ == available_end_) {
    // Acquire: the entries and descriptors behind the index are read after it.
    available_end_ = load(available(kIndex), std::memory_order_acquire);
    if (u16(available_end_ - available_index_) > layout_.size) broken_ = true;
  }
  return !broken_ && available_index_ != available_end_;
}

std::optional<DescriptorChain> Virtqueue::pop() {
  if (broken_ || !find_available()) return std::nullopt;

  const u64 slot = available_index_ & (layout_.size - 1);
  const u16 head = load(available(kRing + slot * sizeof(le16)), std::memory_order_relaxed);
  if (head >= layout_.size || in_flight_[head]) {
    broken_ = true;
    return std::nullopt;
  }
  DescriptorChain::Storage* const storage = take_storage();
  if (!collect(head, *storage)) {
    recycle(storage);
    broken_ = true;
    return std::nullopt;
  }
  ++available_index_;
  ++chains_out_;
  in_flight_[head] = true;
  return DescriptorChain(*this, head, storage);
}

// Walks the chain that starts at `head`; false if it breaks a rule. At most size() buffers and one step into
// an indirect table; with one, kMaxQueueSize buffers. virtio 1.2, 2.7.5.3.1 allows no chain that is longer
// than the queue, but Linux's virtio_blk goes by seg_max alone, even when it has made the ring smaller.
bool Virtqueue::collect(u16 head, DescriptorChain::Storage& storage) {
  Table table{descriptors_, layout_.size, false};
  u32 index = head;
  u64 chain_bytes = 0;
  bool writable_seen = false;
  u32 most_buffers = layout_.size;
  for (u32 buffers = 0; buffers < most_buffers;) {
    const vring_desc descriptor = read_once(table.entries + index * sizeof(vring_desc));
    if (descriptor.flags & VRING_DESC_F_INDIRECT) {
      if (!enter_indirect_table(descriptor, table)) return false;
      index = 0;
      most_buffers = kMaxQueueSize;
      continue;
    }
    ++buffers;
    if (descriptor.len > ~descriptor.addr) return false;  // the end is beyond 2^64 - 1
    chain_bytes += descriptor.len;
    if (chain_bytes > kMaxChainBytes) return false;

    if (descriptor.len > 0) {
      const bool writable = descriptor.flags & VRING_DESC_F_WRITE;
      // virtio 1.2, 2.7.4.2: what the device reads comes first.
      if (writable_seen && !writable) return false;
      writable_seen = writable;
      add_buffer(descriptor, storage);
      if (!writable) storage.readable_pieces = static_cast<u32>(storage.pieces.size()) - 1;
    }
    if (!(descriptor.flags & VRING_DESC_F_NEXT)) return true;
    index = descriptor.next;
    if (index >= table.count) return false;
  }
  return false;
}

// virtio 1.2, 2.7.5.3: the table has no alignment; the WRITE flag of the descriptor that names it is ignored;
// direct descriptors may come before it, none after.
bool Virtqueue::enter_indirect_table(const vring_desc& descriptor, Table& table) const {
  if (!indirect_ || table.indirect || (descriptor.flags & VRING_DESC_F_NEXT)) return false;
  const u32 count = descriptor.len / sizeof(vring_desc);
  if (count == 0 || count > kMaxQueueSize || descriptor.len % sizeof(vring_desc)) return false;
  const auto bytes = memory_.slice(guest(descriptor.addr), descriptor.len);
  if (!bytes) return false;
  table = {bytes->data(), count, true};
  return true;
}

void Virtqueue::add_buffer(const vring_desc& descriptor, DescriptorChain::Storage& storage) const {
  GuestAddress gpa = guest(descriptor.addr);
  u64 left = descriptor.len;
  while (left > 0) {
    const std::span<u8> run = memory_.prefix(gpa, left);
    if (run.empty()) {  // not RAM: the rest is a hole, and the device answers with an error
      storage.pieces.push_back({nullptr, left});
      return;
    }
    storage.pieces.push_back({run.data(), run.size()});
    gpa = gpa + run.size();
    left -= run.size();
  }
}

DescriptorChain::Storage* Virtqueue::take_storage() {
  if (!free_storage_) {
    storages_.push_back(std::make_unique<DescriptorChain::Storage>());
    return storages_.back().get();
  }
  return std::exchange(free_storage_, free_storage_->next_free);
}

void Virtqueue::recycle(DescriptorChain::Storage* storage) {
  storage->pieces.resize(1);
  storage->readable_pieces = 0;
  storage->next_free = std::exchange(free_storage_, storage);
}

void Virtqueue::return_chain(u16 head, u32 written, DescriptorChain::Storage* storage) {
  recycle(storage);
  in_flight_[head] = false;
  --chains_out_;
  if (broken_) return;
  const vring_used_elem entry{.id = head, .len = written};
  const u64 slot = used_index_ & (layout_.size - 1);
  std::memcpy(used(kRing + slot * sizeof entry), &entry, sizeof entry);
  ++used_index_;
  if (listener_) listener_->chain_returned(written);
}

bool Virtqueue::publish() {
  if (broken_ || unpublished() == 0) return false;
  const u16 previous = std::exchange(published_index_, used_index_);
  // virtio 1.2, 2.7.8.2: the entries are complete before the index that publishes them.
  store(used(kIndex), published_index_, std::memory_order_release);
  // virtio 1.2, 2.7.7.2: the index is visible before the driver's wish is read, or a driver that has just
  // asked for an interrupt and then found the ring empty would wait for ever.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!event_index_)
    return !(load(available(kFlags), std::memory_order_relaxed) & VRING_AVAIL_F_NO_INTERRUPT);
  const u16 used_event = load(available(used_event_offset(layout_.size)), std::memory_order_relaxed);
  return vring_need_event(used_event, published_index_, previous);
}

bool Virtqueue::enable_notifications() {
  if (broken_) return true;
  if (event_index_) {
    store(used(avail_event_offset(layout_.size)), available_index_, std::memory_order_relaxed);
  } else if (!notifications_enabled_) {
    store(used(kFlags), 0, std::memory_order_relaxed);
    notifications_enabled_ = true;
  }
  // virtio 1.2, 2.7.10: the wish is visible before the index is looked at once more.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return !find_available() && !broken_;
}

void Virtqueue::disable_notifications() {
  if (broken_ || event_index_ || !notifications_enabled_) return;
  store(used(kFlags), VRING_USED_F_NO_NOTIFY, std::memory_order_relaxed);
  notifications_enabled_ = false;
}

}  // namespace uvmm
