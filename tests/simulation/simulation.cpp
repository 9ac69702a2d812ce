// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/simulation.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace uvmm {
namespace {

constexpr u64 kEpochs = 3;       // from a negotiation to a reset
constexpr u64 kMostSteps = 120;  // of one
constexpr u64 kMostMemory = 900_KiB;
constexpr u32 kIsr = 0x5000;
constexpr int kPatience = 20'000;  // operations that may end before something must have happened

bool is_line(const Op& op) {
  return op.kind == Op::Kind::kWrite && op.fd >= FakeMsiRouter::kFirstLine && op.fd < FakeDoorbells::kFirst;
}

}  // namespace

// --- requests

GuestAddress Simulation::add_writable(Parts& parts, u64 bytes, u64 alignment) {
  const GuestAddress gpa = ram.allocate(bytes, alignment);
  if (bytes > 0) std::ranges::fill(*ram.memory().slice(gpa, bytes), FakeRam::kFill);
  parts.chain.writes_at(address(gpa), static_cast<u32>(bytes));
  ++parts.descriptors;
  parts.writable.push_back({gpa, static_cast<u32>(bytes)});
  return gpa;
}

void Simulation::add_readable(Parts& parts, std::span<const u8> bytes, u64 alignment) {
  const GuestAddress gpa = ram.allocate(bytes.size(), alignment);
  if (!bytes.empty()) std::ranges::copy(bytes, ram.memory().slice(gpa, bytes.size())->begin());
  parts.chain.reads_at(address(gpa), static_cast<u32>(bytes.size()));
  ++parts.descriptors;
}

void Simulation::scatter_readable(Parts& parts, std::span<const u8> bytes, u64 alignment) {
  for (u64 pieces = random.below(3); pieces > 0; --pieces) {
    const u64 piece = random.below(bytes.size() + 1);
    add_readable(parts, bytes.first(piece), alignment);
    bytes = bytes.subspan(piece);
  }
  add_readable(parts, bytes, alignment);
}

void Simulation::scatter_writable(Parts& parts, u64 bytes, u64 alignment) {
  for (u64 pieces = random.below(3); pieces > 0; --pieces) {
    const u64 piece = random.below(bytes + 1);
    add_writable(parts, piece, alignment);
    bytes -= piece;
  }
  add_writable(parts, bytes, alignment);
}

Simulation::Request& Simulation::place(SimulatedQueue& queue, Parts& parts, Check check) {
  FakeDriver& driver = *queue.driver;
  if (has_feature(features_, VIRTIO_RING_F_INDIRECT_DESC) && random.one_in(3)) parts.chain.indirect();
  parts.chain.offer();
  const u16 head = driver.avail_ring(u16(driver.avail_index() - 1) & (driver.layout.size - 1));
  return queue.out[head] = {.check = std::move(check), .writable = std::move(parts.writable)};
}

std::vector<u8> Simulation::read(const std::vector<Buffer>& buffers, u64 most) const {
  std::vector<u8> content;
  for (const Buffer& buffer : buffers) {
    const auto part = ram.memory().prefix(buffer.start, std::min<u64>(buffer.bytes, most - content.size()));
    content.insert(content.end(), part.begin(), part.end());
  }
  return content;
}

// --- the run

void Simulation::run() {
  for (u64 epochs = random.between(1, kEpochs); epochs > 0; --epochs) {
    set_up();
    play();
    if (random.one_in(2)) drain();
    reset();
  }
  finish();
  require(io.empty());
}

// --- setting up

void Simulation::set_up() {
  ram.recycle();
  shadow_.clear();
  queues_.clear();
  refused_ = false;
  u64 features = random.one_in(2) ? ~u64{0} : random.next() | random.next();
  features &= card().device.features() | kCommonFeatures;
  if (random.one_in(16)) {
    require(!negotiate(features & ~feature(VIRTIO_F_VERSION_1)));
    reset();
  }
  if (random.one_in(16)) {
    require(!negotiate(features | feature(VIRTIO_F_VERSION_1) | feature(50)));
    reset();
  }
  require(negotiate(features | feature(VIRTIO_F_VERSION_1)));
  enable_queues();
  started(features_);
  card().driver_ok();
  require(card().status() & VIRTIO_CONFIG_S_DRIVER_OK);
  note_driver_writes(0);
  after_action();
}

bool Simulation::negotiate(u64 features) {
  features_ = features;
  card().negotiate(features);
  return card().status() & VIRTIO_CONFIG_S_FEATURES_OK;
}

void Simulation::enable_queues() {
  const auto sizes = card().device.queue_sizes();
  const u64 needed = random.below(sizes.size());
  for (u16 i = 0; i < sizes.size(); ++i) {
    const u16 size = std::min<u16>(sizes[i], static_cast<u16>(u64{8} << random.below(4)));
    SimulatedQueue& queue = queues_.emplace_back();
    queue.index = i;
    queue.driver = std::make_unique<FakeDriver>(ram, size, features_);
    queue.event_index = has_feature(features_, VIRTIO_RING_F_EVENT_IDX);
    queue.enabled = i == needed || !random.one_in(8);
    if (!queue.enabled) continue;
    Virtqueue::Layout layout = queue.driver->layout;
    if (random.one_in(100)) {
      layout.device_area = random.pick({layout.device_area + 1, guest(FakeRam::kEnd - 8), guest(~u64{0})});
      refused_ = true;
    }
    card().enable_queue(i, layout);
  }
}

// --- what drivers do

void Simulation::play() {
  for (u64 steps = random.below(kMostSteps); steps > 0; --steps) {
    step();
    after_action();
  }
}

void Simulation::step() {
  switch (random.below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return offer_something();
    case 5:
    case 6:
    case 7:
      if (SimulatedQueue* const queue = random_queue()) notify(*queue);
      return;
    case 8:
      return random.one_in(2) ? io.end_turn() : void(io.look());
    case 9:
      return random.one_in(4) ? write_late_registers() : end_doorbell();
    default:
      end_something(false);
      return;
  }
}

Simulation::SimulatedQueue* Simulation::random_queue() {
  SimulatedQueue& queue = queues_[random.below(queues_.size())];
  return queue.enabled ? &queue : nullptr;
}

void Simulation::offer_something() {
  SimulatedQueue* const queue = random_queue();
  if (!queue || queue->must_break || refused_) return;
  const u64 allocated = ram.allocated();
  if (allocated > kMostMemory || queue->driver->free_descriptors() < kMostDescriptors) return;
  const bool may_break = is_served(*queue);
  if (may_break && random.one_in(150)) {
    break_ring(*queue);
  } else if (may_break && random.one_in(8)) {
    offer_odd(*queue);
  } else {
    offer(*queue);
  }
  note_driver_writes(allocated);
}

// One of the ways in which a driver must not fill its ring (virtio 1.2, 2.7).
void Simulation::break_ring(SimulatedQueue& queue) {
  FakeDriver& driver = *queue.driver;
  const u16 size = driver.layout.size;
  const u16 own = driver.next_free();
  const u64 buffer = FakeRam::kBoundary;
  queue.must_break = true;
  switch (random.below(8)) {
    case 0:
      driver.avail_index() = static_cast<u16>(driver.avail_index() + size + random.between(1, 1000));
      return;
    case 1:
      return driver.offer_head(static_cast<u16>(random.between(size, 0xffff)));
    case 2:
      return driver.offer_descriptor(own, {buffer, 16, VRING_DESC_F_NEXT, own});
    case 3:
      return driver.offer_descriptor(
          own, {buffer, 16, VRING_DESC_F_NEXT, static_cast<u16>(random.between(size, 0xffff))});
    case 4:
      return driver.offer_descriptor(own, {~u64{0} - 8, 64, 0, 0});
    case 5:
      return driver.offer_descriptor(own, {buffer, 0, VRING_DESC_F_INDIRECT, 0});
    case 6:
      return driver.offer_descriptor(own, {buffer, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, own});
    default:
      return driver.offer_descriptor(own, {hole_address(), 64, VRING_DESC_F_INDIRECT, 0});
  }
}

// virtio 1.2, 4.1.4.3: these are not to be written any more, and change nothing.
void Simulation::write_late_registers() {
  card().write<u16>(VIRTIO_PCI_COMMON_Q_SELECT, static_cast<u16>(random.below(queues_.size() + 1)));
  card().write<u16>(VIRTIO_PCI_COMMON_Q_SIZE, static_cast<u16>(random.next()));
  card().write<u32>(VIRTIO_PCI_COMMON_Q_USEDLO, static_cast<u32>(random.next()));
  card().write<u16>(VIRTIO_PCI_COMMON_Q_ENABLE, static_cast<u16>(random.next()));
  card().write<u32>(VIRTIO_PCI_COMMON_GF, static_cast<u32>(random.next()));
  card().write<u8>(VIRTIO_PCI_COMMON_STATUS, static_cast<u8>(random.below(128) | 1));
}

void Simulation::notify(SimulatedQueue& queue) {
  const int doorbell = FakeDoorbells::kFirst + queue.index;
  for (u32 i = 0; i < io.size(); ++i) {
    const Op& op = io.pending(i);
    if (op.kind == Op::Kind::kPollMultishot && op.fd == doorbell && random.one_in(2))
      return io.fire(i, POLLIN);
  }
  card().notify(queue.index);
}

// --- what hosts do

// Ends one operation, if there is one but doorbells.
bool Simulation::end_something(bool well) {
  std::vector<u32> choices;
  for (u32 i = 0; i < io.size(); ++i) {
    if (io.pending(i).kind != Op::Kind::kPollMultishot) choices.push_back(i);
  }
  if (choices.empty()) return false;
  const u32 i = choices[random.below(choices.size())];
  const bool is_cancelled = std::ranges::count(io.cancelled, &io.pending(i)) > 0;
  if (is_line(io.pending(i))) {
    io.complete(i, well || !random.one_in(16) ? 8 : -ENOMEM);
  } else if (is_cancelled && !random.one_in(4)) {
    io.complete(i, -ECANCELED);
  } else {
    end_operation(i, well);
  }
  if (well || !random.one_in(3)) io.end_turn();  // or others end in the same turn
  return true;
}

// The kernel ends a multishot poll when it runs short of completion slots.
void Simulation::end_doorbell() {
  const u32 i = io.find(Op::Kind::kPollMultishot);
  if (i < io.size()) io.finish(i, POLLIN);
}

// The driver rings all doorbells and waits; the host does its best.
void Simulation::drain() {
  for (SimulatedQueue& queue : queues_) card().notify(queue.index);
  io.end_turn();
  after_action();
  int patience = kPatience;
  while (end_something(true)) {
    after_action();
    require(--patience > 0);
  }
  bool must_reset = refused_;
  for (const SimulatedQueue& queue : queues_) {
    must_reset |= queue.must_break;
    const bool excused = queue.must_break || refused_ || !queue.enabled;
    for (const auto& [head, request] : queue.out) require(request.waits || excused);
  }
  require(bool(card().status() & VIRTIO_CONFIG_S_NEEDS_RESET) == must_reset);
}

// virtio 1.2, 2.4: the driver writes 0 and reads until it is 0.
void Simulation::reset() {
  resetting_ = true;
  card().write<u8>(VIRTIO_PCI_COMMON_STATUS, 0);
  int patience = kPatience;
  while (card().status() != 0) {
    // Doorbells end only when they are asked to.
    const u32 doorbell = io.find(Op::Kind::kPollMultishot);
    if (doorbell < io.size() && random.one_in(2)) {
      io.complete(doorbell, -ECANCELED);
      io.end_turn();
    } else {
      end_something(random.one_in(2));
      io.end_turn();
    }
    check_operations();
    require(--patience > 0);
  }
  for (u32 i = 0; i < io.size(); ++i) require(is_line(io.pending(i)) || outlives_reset(io.pending(i)));
  if (!shadow_.empty()) {
    check_memory();  // what was out may have been written to
    for (SimulatedQueue& queue : queues_) queue.out.clear();
  }
  was_reset();
  for (u64 more = random.below(8); more > 0 && end_something(false); --more) check_operations();
  io.end_turn();
  if (!shadow_.empty()) {
    const u64 bytes = shadow_.size();
    require(std::memcmp(shadow_.data(), host(guest(FakeRam::kStart)), bytes) == 0);
  }
  require(card().status() == 0);
  resetting_ = false;
}

// --- what must hold

void Simulation::after_action() {
  check_operations();
  const bool interrupted = card().read<u8>(kIsr) & kIsrQueue;
  for (SimulatedQueue& queue : queues_) collect(queue, interrupted);
  if (random.one_in(8)) check_memory();
}

void Simulation::collect(SimulatedQueue& queue, bool interrupted) {
  FakeDriver& driver = *queue.driver;
  while (const auto used = driver.take_used()) {
    require(queue.enabled && !refused_ && interrupted);
    const auto found = queue.out.find(static_cast<u16>(used->id));
    require(found != queue.out.end() && used->id <= 0xffff);
    const Request request = std::move(found->second);
    queue.out.erase(found);
    for (const Buffer& buffer : request.writable) note(buffer.start, buffer.bytes);
    request.check(*used);
  }
  if (queue.event_index) {  // virtio 1.2, 2.7.7.1: interrupt me for the next one
    driver.used_event() = driver.used_index();
    note(driver.layout.driver_area, 6 + driver.layout.size * u64{2});
  }
}

// Takes [start, start + bytes) as it is.
void Simulation::note(GuestAddress start, u64 bytes) {
  const u64 offset = address(start) - FakeRam::kStart;
  if (address(start) < FakeRam::kStart || offset >= shadow_.size() || bytes == 0) return;
  std::memcpy(shadow_.data() + offset, host(start), std::min(bytes, shadow_.size() - offset));
}

void Simulation::note_driver_writes(u64 allocated_before) {
  shadow_.resize(ram.allocated());
  note(guest(FakeRam::kStart + allocated_before), ram.allocated() - allocated_before);
  for (const SimulatedQueue& queue : queues_) {
    const Virtqueue::Layout& layout = queue.driver->layout;
    note(layout.descriptors, layout.size * sizeof(vring_desc));
    note(layout.driver_area, 6 + layout.size * u64{2});
  }
}

void Simulation::check_memory() {
  for (const SimulatedQueue& queue : queues_) {
    note(queue.driver->layout.device_area, 6 + queue.driver->layout.size * u64{8});
    for (const auto& [head, request] : queue.out) {
      for (const Buffer& buffer : request.writable) note(buffer.start, buffer.bytes);
    }
  }
  require(std::memcmp(shadow_.data(), host(guest(FakeRam::kStart)), shadow_.size()) == 0);
}

}  // namespace uvmm
