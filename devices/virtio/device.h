// SPDX-License-Identifier: Apache-2.0
// VirtioDevice: what every device type gives to the transport. I/O thread only; lives in the Machine.
//
// A device knows no KVM and no PCI. It sees queues, an Io, and a way to say that its configuration has
// changed.
#pragma once

#include <span>

#include "devices/virtio/queue.h"
#include "vmm/base/counter.h"
#include "vmm/base/io.h"
#include "vmm/base/task.h"
#include "vmm/base/types.h"

namespace uvmm {

// The transport's side of a device: raises the configuration interrupt and bumps the generation (4.1.4.3).
class ConfigChangeListener {
 public:
  virtual void config_changed() = 0;

 protected:
  ~ConfigChangeListener() = default;
};

class VirtioDevice {
 public:
  explicit VirtioDevice(Io& io) : io_(io) {}
  VirtioDevice(const VirtioDevice&) = delete;
  VirtioDevice& operator=(const VirtioDevice&) = delete;
  virtual ~VirtioDevice() = default;

  virtual u16 device_id() const = 0;  // virtio 1.2, 5: VIRTIO_ID_*
  virtual u64 features() const = 0;   // the device type's own; the transport adds the common ones
  virtual std::span<const u16> queue_sizes() const = 0;  // the largest size of each queue; constant
  virtual std::span<const u8> config() const = 0;  // device-specific configuration; the size is constant
  virtual void write_config(u32 /*offset*/, std::span<const u8> /*bytes*/) {
  }  // checked to lie within config()

  // The driver has set DRIVER_OK, having accepted `features`. Called before any run().
  virtual void start(u64 /*features*/) {}

  // Serves queue `index` until queue.next() yields nothing; every request that it spawned has ended when it
  // ends. Called once for each queue that the driver enabled.
  virtual Task<> run(Queue& queue, u16 index) = 0;

  // A reset begins: the queues have been stopped, and what is in flight is being cancelled. For coroutines
  // that wait for something else.
  virtual void stop() {}

  // A reset completes: no coroutine of the device runs any more, nothing is in flight. Back to the initial
  // state; chains that the device still holds end here, before their queues do.
  virtual void reset() {}

  // Everything this device asks of the host goes through here, so that a reset can cancel it: what is in
  // flight, and at once whatever is submitted until the reset has completed.
  OpGroup& io() { return io_; }

  // Requests that failed, and whatever else went wrong. Any thread may read it.
  Counter& errors() { return errors_; }

  void set_listener(ConfigChangeListener* listener) { listener_ = listener; }

 protected:
  void config_changed() {
    if (listener_) listener_->config_changed();
  }

  OpGroup io_;
  Counter errors_;

 private:
  ConfigChangeListener* listener_ = nullptr;
};

}  // namespace uvmm
