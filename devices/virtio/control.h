// SPDX-License-Identifier: Apache-2.0
// Control: a virtio device's status, features and queue registers (virtio 1.2, 2.1, 2.2 and 3.1), whatever
// the transport makes them look like. I/O thread only; lives in the transport.
//
// While the device runs it owns the Queues, listens to their doorbells and holds the device's coroutines.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio/device.h"
#include "devices/virtio/queue.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/base/result.h"
#include "vmm/base/task.h"

namespace uvmm {

class Control final : private ConfigChangeListener, private BrokenQueueListener {
 public:
  // What the transport adds.
  class Face {
   public:
    virtual Interrupt& queue_interrupt(u16 index) = 0;
    // Turns rings of the queue's doorbell, each an exit so far, into signals of an eventfd; borrowed.
    virtual Result<int> add_doorbell(u16 index) = 0;
    virtual void raise_config_interrupt() = 0;
    // Status, generation or configuration have changed otherwise than by a write_...() of this class.
    virtual void registers_changed() = 0;
    // A reset has completed: the transport's own registers (vectors) go back to their initial values, too.
    virtual void reset_completed() = 0;

   protected:
    ~Face() = default;
  };

  struct Parts {
    Io& io;
    const GuestMemory& memory;
    Log& log;
    std::string name;  // of the device, for messages
  };

  // As the driver programs it (4.1.4.3). Ring addresses and size count from the moment it is enabled.
  struct QueueRegisters {
    Virtqueue::Layout layout;
    u16 max_size = 0;
    bool enabled = false;
  };

  Control(VirtioDevice& device, const Parts& parts, Face& face);
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  ~Control();  // stopped()

  u64 offered_features() const;
  u64 driver_features() const { return driver_features_; }
  // `select` counts in 32 bits; what lies beyond 64 bits does not exist.
  void write_driver_features(u32 select, u32 value);

  u8 status() const { return status_; }
  void write_status(u8 value);
  u8 generation() const { return generation_; }

  u16 num_queues() const { return static_cast<u16>(registers_.size()); }
  // Null beyond the last one.
  const QueueRegisters* queue(u16 index) const;
  // Writes that come too late, and sizes that cannot be, are ignored.
  void write_queue_size(u16 index, u16 size);
  enum class RingPart : u8 { kDescriptors, kDriverArea, kDeviceArea };
  void write_queue_address(u16 index, RingPart part, bool high_half, u32 value);
  void write_queue_enable(u16 index, u16 value);

  // By queue, over all resets. Any thread.
  std::span<const QueueCounters> counters() const { return counters_; }

  // The driver has rung, with an exit: the first time of each queue, since those that are never rung cost
  // nothing, and whenever the host has no doorbell for it. Nothing before DRIVER_OK, for a queue that is not
  // enabled, or that is not there.
  void notify(u16 index);

  // As a reset, for the end: turn the Io until nothing is in flight, then stopped() holds.
  void shut_down() { begin_reset(); }
  bool stopped() const { return !resetting_ && tasks_.empty() && doorbells_io_.idle(); }

 private:
  // Its eventfd is polled and never read. `fd` is -1 before the first ring.
  struct Doorbell : Op {
    Control* control = nullptr;
    u16 queue = 0;
    bool refused = false;  // by the host, since the driver started
    u32 failures = 0;      // of its poll, one after the other
  };
  struct ResetCheck : TurnEnd {
    Control* control = nullptr;
  };

  bool running() const { return status_ & VIRTIO_CONFIG_S_DRIVER_OK; }
  QueueRegisters* writable_queue(u16 index);
  bool accept_features() const;
  void set_initial_registers();
  void start();
  void add_doorbell(Doorbell& doorbell);
  void listen(Doorbell& doorbell);
  void rang(Doorbell& doorbell, i32 result, bool more);
  void ring(u16 index);
  void need_reset();
  void begin_reset();
  bool finish_reset();
  Task<> await_tasks();

  void config_changed() override;
  void queue_broke() override;

  VirtioDevice& device_;
  Io& io_;
  const GuestMemory& memory_;
  Log& log_;
  const std::string name_;
  Face& face_;

  u8 status_ = 0;
  u8 generation_ = 0;
  u64 driver_features_ = 0;
  bool refused_queue_ = false;  // the driver enabled one that cannot be served
  bool resetting_ = false;
  std::vector<QueueRegisters> registers_;
  std::vector<QueueCounters> counters_;
  std::vector<std::unique_ptr<Queue>> queues_;  // while running; null where not enabled

  OpGroup doorbells_io_;
  std::vector<Doorbell> doorbells_;
  TaskScope tasks_;     // the device's run()
  TaskScope watchers_;  // await_tasks()
  ResetCheck reset_check_;
};

}  // namespace uvmm
