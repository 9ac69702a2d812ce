// SPDX-License-Identifier: Apache-2.0
// VcpuThread: a vCPU and the thread that runs it, which only enters the guest and hands its exits over. Lives
// in the Machine; stop(), pause() and resume() on any thread, the rest on the Machine's.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <span>
#include <string>

#include <uvmm/monitor.hpp>

#include "vmm/base/counter.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"
#include "vmm/base/thread.h"
#include "vmm/base/types.h"
#include "vmm/kvm/vcpu.h"

namespace uvmm {

// Why a vCPU ended by itself.
enum class VcpuEnd : u8 {
  kTripleFault,
  kPowerOff,  // KVM_EXIT_SYSTEM_EVENT, as the next two
  kReset,
  kCrash,
  kInternalError,  // KVM cannot go on
};

// What the guest does beyond its RAM. Called on the vCPUs' threads, on several at once; outlives them all.
class ExitHandler {
 public:
  // 1, 2 or 4 bytes. Where nothing answers, a read gives all-ones and a write goes nowhere; that is the
  // handler's to do, as are accesses over the end of a register.
  virtual void pio_read(u16 port, std::span<u8> bytes) = 0;
  virtual void pio_write(u16 port, std::span<const u8> bytes) = 0;
  // 1 to 8 bytes, at any address.
  virtual void mmio_read(GuestAddress gpa, std::span<u8> bytes) = 0;
  virtual void mmio_write(GuestAddress gpa, std::span<const u8> bytes) = 0;

  // The vCPU has ended, and not by stop(). Its thread does nothing more after this call. `detail` is for a
  // person: what happened, with the registers.
  virtual void ended(VcpuEnd reason, std::string detail) = 0;

 protected:
  ~ExitHandler() = default;
};

class VcpuThread {
 public:
  VcpuThread(kvm::Vcpu vcpu, u32 index, const GuestMemory& memory, ExitHandler& handler)
      : vcpu_(std::move(vcpu)), index_(index), memory_(memory), handler_(handler) {}
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;
  // Stops and joins.
  ~VcpuThread();

  const kvm::Vcpu& vcpu() const { return vcpu_; }

  Result<void> start();

  // The guest is not entered again once this returns to the vCPU's thread. Does not wait; may be called in an
  // ExitHandler on the vCPU's own thread, and before start().
  void stop();
  // The guest is not entered between the two. pause() does not wait: await_pause() does, for the vCPU to have
  // left the guest, or to have ended; not on a thread that an ExitHandler waits for. Both also before
  // start().
  void pause();
  void await_pause();
  void resume();

  // Waits until the thread has ended, which it does after stop() or ended().
  void join() { thread_.join(); }

  // Both on any thread.
  ExitCounts exits() const;
  std::chrono::nanoseconds cpu_time() const;  // that its thread has taken

 private:
  struct Counters {
    Counter io_in, io_out, mmio_read, mmio_write, other;
  };

  void main();
  void loop();
  void stay_paused();
  bool handle_exit();
  void handle_io();
  void handle_mmio();
  void handle_system_event();
  void end(VcpuEnd reason, std::string what);

  kvm::Vcpu vcpu_;
  const u32 index_;
  const GuestMemory& memory_;
  ExitHandler& handler_;

  Counters counters_;  // only the vCPU's thread writes them
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> pausing_ = false;
  mutable std::mutex mutex_;
  std::condition_variable
      changed_;  // any of these, and stopping_ and pausing_, which are also looked at without mutex_
  bool kickable_ = false;                      // from before the thread's loop to after it
  bool paused_ = false;                        // the thread is in stay_paused()
  std::chrono::nanoseconds final_cpu_time_{};  // once it is no longer kickable_
  Thread thread_;
};

}  // namespace uvmm
