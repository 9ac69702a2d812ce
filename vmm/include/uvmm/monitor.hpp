// SPDX-License-Identifier: Apache-2.0
// What can be seen of a Vm from outside: what it says, its state, what happens to it, and what it has
// counted. Plain data.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace uvmm {

enum class LogLevel : std::uint8_t { kError, kWarning, kInfo, kDebug };

// Where log lines go. Called from any thread of the Vm, never concurrently with itself for one Vm.
using LogSink = std::function<void(LogLevel, std::string_view line)>;

enum class State : std::uint8_t {
  kCreated,  // and not run yet, whether paused or not
  kRunning,
  kPaused,
  kEnded,
};

// How a VM came to its end.
enum class End : std::uint8_t {
  kPowerOff,
  kReboot,  // the guest asked for a reset
  kPanic,   // the guest's kernel said that it panicked, then reset
  kTripleFault,
  kInternalError,  // KVM could not go on; `detail` has registers and instruction bytes
  kStopped,        // Vm::stop() or the console's escape
};

struct Outcome {
  End end = End::kStopped;
  std::string detail;      // one line or more for a person; may be empty
  bool by_escape = false;  // kStopped: by the console's escape
};

// Something that has happened to a VM.
struct Event {
  enum class Kind : std::uint8_t {
    kStarted,
    kPaused,
    kResumed,
    kShutdownRequested,  // by Vm::shut_down()
    kGuestPanic,         // the guest's kernel says that it panics; the end may follow
    kDeviceError,        // the host refused something to a device, or the guest broke it; a few a second
    kHelperDied,         // a program that a device needs (passt) has ended; it is started again
    kEnded,
  };
  Kind kind;
  std::string_view subject;  // the device, as its DeviceStatistics name it; empty where it is of no device
  std::string_view detail;   // for a person; may be empty. Both only while the callback runs.
  End end = End::kStopped;   // kEnded
};

// Called from the Vm's threads and from those that call its functions, one call at a time for one Vm. It must
// not wait for the Vm, nor pause or resume it; state(), statistics(), stop() and shut_down() are at hand.
using EventSink = std::function<void(const Event&)>;

// VM exits to user space, by reason. They are what a boot costs on any machine.
struct ExitCounts {
  std::uint64_t io_in = 0, io_out = 0, mmio_read = 0, mmio_write = 0, other = 0;
};

struct VcpuStatistics {
  ExitCounts exits;
  std::chrono::nanoseconds cpu_time{};  // of its thread, the guest's time included
};

// All counts are from the Vm's creation on, over resets of the device.
struct QueueStatistics {
  std::uint64_t requests = 0;          // that the device has ended
  std::uint64_t bytes_from_guest = 0;  // that requests brought, headers included
  std::uint64_t bytes_to_guest = 0;    // that it wrote into their buffers
  std::uint64_t notifications = 0;     // from the guest
  std::uint64_t interrupts = 0;        // to it
};

// What a guest says of its memory, where it says it: bytes, and counts since its start (virtio 1.2, 5.5.6.4).
struct MemoryStatistics {
  std::optional<std::uint64_t> total_bytes, free_bytes;
  std::optional<std::uint64_t> available_bytes;  // for new programs, without swapping
  std::optional<std::uint64_t> cache_bytes;      // of files, which it could take back
  std::optional<std::uint64_t> swapped_in_bytes, swapped_out_bytes;
  std::optional<std::uint64_t> major_faults, minor_faults;
};

struct DeviceStatistics {
  std::string name;                     // as log lines have it: "disk /srv/store.erofs"
  std::uint16_t virtio_id = 0;          // its type (virtio 1.2, 5): 1 network, 2 disk, 3 console, ...
  std::uint64_t errors = 0;             // requests that failed, frames that were lost, rules that were broken
  std::vector<QueueStatistics> queues;  // by number
};

struct Statistics {
  std::vector<VcpuStatistics> vcpus;      // by number
  std::vector<DeviceStatistics> devices;  // disks, networks and shares, each as configured, then the others
  std::uint64_t balloon_bytes = 0;
};

}  // namespace uvmm
