// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu.h"

#include <sys/prctl.h>

#include <array>
#include <csignal>
#include <ctime>

#include "arch/x86_64/exit_dump.h"

namespace uvmm {
namespace {

// Takes a vCPU out of the guest. It stays blocked in the thread and only KVM_RUN lets it through, which then
// returns EINTR: no handler is ever called, none has to be installed, and a kick between the look at
// stopping_ and KVM_RUN is not lost. It is ignored by default, so that one in the wrong place would do no
// harm.
constexpr int kKick = SIGURG;

// Only what is touched of it counts as memory. It has to hold a log line on its way to the caller's sink.
constexpr std::size_t kStackBytes = 256_KiB;

void consume_kick() {
  sigset_t kick;
  ::sigemptyset(&kick);
  ::sigaddset(&kick, kKick);
  const timespec now{};
  ::sigtimedwait(&kick, nullptr, &now);
}

std::chrono::nanoseconds read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

VcpuThread::~VcpuThread() {
  stop();
  join();
}

Result<void> VcpuThread::start() {
  sigset_t blocked_in_guest = blocked_signals();
  ::sigdelset(&blocked_in_guest, kKick);
  UVMM_CHECK(vcpu_.set_signal_mask(blocked_in_guest));

  const std::lock_guard lock(mutex_);  // a stop() from now on comes when there is a thread to kick
  if (const int error = thread_.start<&VcpuThread::main>(*this, kStackBytes); error != 0) {
    return with_hint(
        fail(ErrorKind::kHost, "cannot start the thread of vCPU {}: {}", index_, error_text(error)),
        "raise the limit on threads (ulimit -u, or the control group's pids.max)");
  }
  kickable_ = true;
  return {};
}

void VcpuThread::stop() {
  const std::lock_guard lock(mutex_);
  stopping_.store(true);
  changed_.notify_all();
  if (kickable_) ::pthread_kill(thread_.id(), kKick);
}

void VcpuThread::pause() {
  const std::lock_guard lock(mutex_);
  pausing_.store(true);
  if (kickable_) ::pthread_kill(thread_.id(), kKick);
}

void VcpuThread::await_pause() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return paused_ || !kickable_ || !pausing_.load(); });
}

void VcpuThread::resume() {
  const std::lock_guard lock(mutex_);
  pausing_.store(false);
  changed_.notify_all();
}

void VcpuThread::stay_paused() {
  std::unique_lock lock(mutex_);
  paused_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !pausing_.load() || stopping_.load(); });
  paused_ = false;
  // Without this the guest's watchdogs take the pause for a processor that hangs.
  (void)vcpu_.kvmclock_ctrl();
}

void VcpuThread::main() {
  // By itself it is one system call, by another thread three.
  std::array<char, 16> name{};
  fmt::format_to_n(name.data(), name.size() - 1, "vcpu{}", index_);
  ::prctl(PR_SET_NAME, name.data());
  loop();
  const std::lock_guard lock(mutex_);
  kickable_ = false;
  final_cpu_time_ = read_clock(CLOCK_THREAD_CPUTIME_ID);
  changed_.notify_all();
}

ExitCounts VcpuThread::exits() const {
  return {counters_.io_in.value(), counters_.io_out.value(), counters_.mmio_read.value(),
          counters_.mmio_write.value(), counters_.other.value()};
}

std::chrono::nanoseconds VcpuThread::cpu_time() const {
  const std::lock_guard lock(mutex_);  // under which the thread says that it ends
  clockid_t clock = 0;
  if (!kickable_ || ::pthread_getcpuclockid(thread_.id(), &clock) != 0) return final_cpu_time_;
  return read_clock(clock);
}

void VcpuThread::loop() {
  while (!stopping_.load()) {
    if (pausing_.load()) {
      stay_paused();
      continue;
    }
    const int error = vcpu_.run();
    if (error == EINTR) {
      consume_kick();
    } else if (error == EAGAIN) {
      // A vCPU that waited for its INIT or SIPI has got it.
    } else if (error != 0) {
      return end(VcpuEnd::kInternalError, fmt::format("KVM_RUN failed: {}", error_text(error)));
    } else if (!handle_exit()) {
      return;
    }
  }
}

// False if the vCPU has ended.
bool VcpuThread::handle_exit() {
  const kvm_run& run = vcpu_.state();
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      handle_io();
      return true;
    case KVM_EXIT_MMIO:
      handle_mmio();
      return true;
    default:
      break;
  }
  counters_.other.add();
  switch (run.exit_reason) {
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return true;
    case KVM_EXIT_SYSTEM_EVENT:
      handle_system_event();
      return false;
    case KVM_EXIT_SHUTDOWN:
      end(VcpuEnd::kTripleFault, arch::describe_exit(run));
      return false;
    default:
      end(VcpuEnd::kInternalError, arch::describe_exit(run));
      return false;
  }
}

void VcpuThread::handle_io() {
  kvm_run& run = vcpu_.state();
  const auto& io = run.io;
  const bool in = io.direction == KVM_EXIT_IO_IN;
  (in ? counters_.io_in : counters_.io_out).add();

  // A string instruction exits once for many of its elements.
  u8* const data = reinterpret_cast<u8*>(&run) + io.data_offset;
  for (u32 i = 0; i < io.count; ++i) {
    const std::span<u8> bytes(data + std::size_t{i} * io.size, io.size);
    if (in) {
      handler_.pio_read(io.port, bytes);
    } else {
      handler_.pio_write(io.port, bytes);
    }
  }
}

void VcpuThread::handle_mmio() {
  auto& mmio = vcpu_.state().mmio;
  const std::span<u8> bytes(mmio.data, mmio.len);
  if (mmio.is_write) {
    counters_.mmio_write.add();
    handler_.mmio_write(guest(mmio.phys_addr), bytes);
  } else {
    counters_.mmio_read.add();
    handler_.mmio_read(guest(mmio.phys_addr), bytes);
  }
}

void VcpuThread::handle_system_event() {
  const u32 type = vcpu_.state().system_event.type;
  switch (type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      return handler_.ended(VcpuEnd::kPowerOff, {});
    case KVM_SYSTEM_EVENT_RESET:
      return handler_.ended(VcpuEnd::kReset, {});
    case KVM_SYSTEM_EVENT_CRASH:
      return end(VcpuEnd::kCrash, "the guest reported a crash to KVM");
    default:
      return end(VcpuEnd::kInternalError, fmt::format("unexpected KVM system event {}", type));
  }
}

void VcpuThread::end(VcpuEnd reason, std::string what) {
  handler_.ended(reason, fmt::format("vCPU {}: {}\n{}", index_, what, arch::dump_vcpu(vcpu_, memory_)));
}

}  // namespace uvmm
