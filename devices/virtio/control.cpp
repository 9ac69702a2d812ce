// SPDX-License-Identifier: Apache-2.0
#include "devices/virtio/control.h"

#include <bit>
#include <cassert>
#include <cerrno>

#include "devices/virtio/spec.h"
#include "vmm/base/result.h"

namespace uvmm {
namespace {

constexpr u8 kDriverBits = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |
                           VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED;

constexpr u32 kMostFailures = 100;  // of a poll, one after the other, by a host that is short of memory

u64 with_half(u64 whole, bool high, u32 value) {
  return high ? (whole & 0xffff'ffff) | u64{value} << 32 : (whole & ~u64{0xffff'ffff}) | value;
}

}  // namespace

Control::Control(VirtioDevice& device, const Parts& parts, Face& face)
    : device_(device),
      io_(parts.io),
      memory_(parts.memory),
      log_(parts.log),
      name_(parts.name),
      face_(face),
      registers_(device.queue_sizes().size()),
      counters_(registers_.size()),
      queues_(registers_.size()),
      doorbells_io_(parts.io),
      doorbells_(registers_.size()) {
  for (u16 i = 0; i < num_queues(); ++i) {
    assert(device.queue_sizes()[i] <= kMaxQueueSize && std::has_single_bit(device.queue_sizes()[i]));
    Doorbell& doorbell = doorbells_[i];
    doorbell.control = this;
    doorbell.queue = i;
    doorbell.kind = Op::Kind::kPollMultishot;
    doorbell.flags = POLLIN;
    doorbell.on_complete = [](Op& op, i32 result, bool more) {
      Doorbell& self = static_cast<Doorbell&>(op);
      self.control->rang(self, result, more);
    };
  }
  reset_check_.control = this;
  reset_check_.run = [](TurnEnd& hook) { static_cast<ResetCheck&>(hook).control->finish_reset(); };
  device_.io().when_idle(&reset_check_);
  doorbells_io_.when_idle(&reset_check_);
  device_.set_listener(this);
  set_initial_registers();
}

Control::~Control() {
  assert(stopped());
  device_.set_listener(nullptr);
  device_.io().when_idle(nullptr);
  io_.forget(reset_check_);
}

void Control::set_initial_registers() {
  status_ = 0;
  driver_features_ = 0;
  refused_queue_ = false;
  for (u16 i = 0; i < num_queues(); ++i) {
    const u16 max_size = device_.queue_sizes()[i];
    registers_[i] = {.layout = {.size = max_size}, .max_size = max_size};
  }
}

u64 Control::offered_features() const {
  return device_.features() | kCommonFeatures;
}

void Control::write_driver_features(u32 select, u32 value) {
  // virtio 1.2, 2.2.1: what is negotiated stays.
  if (select > 1 || resetting_ || (status_ & VIRTIO_CONFIG_S_FEATURES_OK)) return;
  driver_features_ = with_half(driver_features_, select == 1, value);
}

bool Control::accept_features() const {
  return (driver_features_ & ~offered_features()) == 0 && has_feature(driver_features_, VIRTIO_F_VERSION_1);
}

// virtio 1.2, 2.1 and 3.1.1: bits are set one after the other, and cleared by a reset only. What leaves that
// order is ignored, so that the driver sees that it did not take.
void Control::write_status(u8 value) {
  if (resetting_) return;
  if (value == 0) return begin_reset();
  if ((status_ & kDriverBits & ~value) != 0) return;

  const u8 before = status_;
  status_ |= value & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_FAILED);
  if (status_ & VIRTIO_CONFIG_S_ACKNOWLEDGE) status_ |= value & VIRTIO_CONFIG_S_DRIVER;
  if ((status_ & VIRTIO_CONFIG_S_DRIVER) && (value & VIRTIO_CONFIG_S_FEATURES_OK) && accept_features())
    status_ |= VIRTIO_CONFIG_S_FEATURES_OK;
  // The driver must have read FEATURES_OK back before it goes on (3.1.1, step 6), hence `before`.
  if ((before & VIRTIO_CONFIG_S_FEATURES_OK) && (value & VIRTIO_CONFIG_S_DRIVER_OK) && !running()) start();
}

void Control::start() {
  status_ |= VIRTIO_CONFIG_S_DRIVER_OK;
  if (refused_queue_) return need_reset();

  device_.io().reopen();
  doorbells_io_.reopen();
  for (u16 i = 0; i < num_queues(); ++i) {
    if (!registers_[i].enabled) continue;
    queues_[i] = std::make_unique<Queue>(device_.io(), memory_, registers_[i].layout, driver_features_,
                                         face_.queue_interrupt(i), static_cast<BrokenQueueListener&>(*this),
                                         counters_[i]);
    doorbells_[i].refused = false;
    if (doorbells_[i].fd >= 0) listen(doorbells_[i]);
  }
  device_.start(driver_features_);
  for (u16 i = 0; i < num_queues(); ++i)
    if (queues_[i]) tasks_.spawn(device_.run(*queues_[i], i));
}

void Control::add_doorbell(Doorbell& doorbell) {
  const Result<int> added = face_.add_doorbell(doorbell.queue);
  doorbell.refused = !added;
  if (!added) {
    return log_.guest("{}: queue {} has no doorbell and is slow: {}", name_, doorbell.queue,
                      added.error().message);
  }
  doorbell.fd = *added;
  listen(doorbell);
}

void Control::listen(Doorbell& doorbell) {
  doorbells_io_.submit(doorbell);
}

void Control::rang(Doorbell& doorbell, i32 result, bool more) {
  if (resetting_) return;
  doorbell.failures = result < 0 ? doorbell.failures + 1 : 0;
  if (doorbell.failures > kMostFailures) {
    log_.error("{}: cannot poll the doorbell of queue {}: {}", name_, doorbell.queue, error_text(-result));
    return need_reset();
  }
  // The kernel ends a multishot poll when it runs short of completion slots, or of memory.
  if (!more) listen(doorbell);
  ring(doorbell.queue);  // which may have rung meanwhile
}

void Control::notify(u16 index) {
  if (index >= num_queues() || !queues_[index] || resetting_) return;
  Doorbell& doorbell = doorbells_[index];
  if (doorbell.fd < 0 && !doorbell.refused) add_doorbell(doorbell);
  ring(index);
}

void Control::ring(u16 index) {
  counters_[index].notifications.add();
  queues_[index]->notify();
}

const Control::QueueRegisters* Control::queue(u16 index) const {
  return index < num_queues() ? &registers_[index] : nullptr;
}

// virtio 1.2, 4.1.5.1.3: a queue is set up before it is enabled, and all of them before DRIVER_OK.
Control::QueueRegisters* Control::writable_queue(u16 index) {
  if (index >= num_queues() || running() || resetting_ || registers_[index].enabled) return nullptr;
  return &registers_[index];
}

void Control::write_queue_size(u16 index, u16 size) {
  QueueRegisters* const queue = writable_queue(index);
  if (queue && std::has_single_bit(size) && size <= queue->max_size) queue->layout.size = size;
}

void Control::write_queue_address(u16 index, RingPart part, bool high_half, u32 value) {
  QueueRegisters* const queue = writable_queue(index);
  if (!queue) return;
  GuestAddress& gpa = part == RingPart::kDescriptors  ? queue->layout.descriptors
                      : part == RingPart::kDriverArea ? queue->layout.driver_area
                                                      : queue->layout.device_area;
  gpa = guest(with_half(address(gpa), high_half, value));
}

void Control::write_queue_enable(u16 index, u16 value) {
  QueueRegisters* const queue = writable_queue(index);
  if (!queue || value != 1) return;
  queue->enabled = Virtqueue::valid(memory_, queue->layout, queue->max_size);
  if (queue->enabled) return;
  refused_queue_ = true;
  log_.guest("{}: the driver enabled queue {} with a ring that is misaligned or not in RAM", name_, index);
}

void Control::config_changed() {
  ++generation_;
  face_.registers_changed();
  if (running() && !resetting_) face_.raise_config_interrupt();
}

void Control::queue_broke() {
  device_.errors().add();
  log_.guest_event(Event::Kind::kDeviceError, name_,
                   "the driver broke the rules of a queue; the device needs a reset");
  need_reset();
}

// virtio 1.2, 2.1.2: the driver is told, if it is there yet.
void Control::need_reset() {
  if (resetting_ || (status_ & VIRTIO_CONFIG_S_NEEDS_RESET)) return;
  status_ |= VIRTIO_CONFIG_S_NEEDS_RESET;
  face_.registers_changed();
  if (running()) face_.raise_config_interrupt();
}

// The device may have handed the driver's buffers to the kernel, so status reads 0 only when it has them
// back (virtio 1.2, 2.4.1).
void Control::begin_reset() {
  if (resetting_) return;
  resetting_ = true;
  for (const auto& queue : queues_)
    if (queue) queue->stop();
  device_.io().cancel_all();
  device_.stop();
  doorbells_io_.cancel_all();
  if (!finish_reset()) watchers_.spawn(await_tasks());
}

Task<> Control::await_tasks() {
  co_await tasks_.drained();
  io_.at_turn_end(reset_check_);
}

bool Control::finish_reset() {
  if (!resetting_ || !tasks_.empty() || !device_.io().idle() || !doorbells_io_.idle()) return false;
  device_.reset();  // it may still hold chains of the queues
  for (auto& queue : queues_) queue.reset();
  resetting_ = false;
  set_initial_registers();
  device_.io().reopen();
  doorbells_io_.reopen();
  face_.reset_completed();
  return true;
}

}  // namespace uvmm
