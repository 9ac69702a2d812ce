// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/platform.h"
#include "boot/acpi.h"
#include "boot/boot_params.h"
#include "boot/cmdline.h"
#include "boot/credentials.h"
#include "boot/image_magic.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "boot/kernel_cache.h"
#include "boot/smbios.h"
#include "devices/connect_line.h"
#include "devices/disk_image.h"
#include "vmm/base/event_fd.h"
#include "vmm/base/size_text.h"
#include "vmm/device_count.h"
#include "vmm/kvm/system.h"
#include "vmm/shares.h"

namespace uvmm {
namespace {

// The word in the BIOS data area where a kernel says how it wants to be reset. Linux writes 0 or 0x1234 there
// on its way to a reboot, and on no other; with reboot=t a triple fault follows, which this tells from a
// crash.
constexpr GuestAddress kResetFlag = guest(0x472);
constexpr u16 kNoResetRequested = 0x5AFE;

// 16550 (earlycon): transmit holding register, and the line status register with "empty" set for good.
constexpr u16 kTransmitPort = layout::kEarlyconPort;
constexpr u16 kLineStatusPort = layout::kEarlyconPort + 5;
constexpr u8 kTransmitterEmpty = 0x60;

constexpr u8 kPanicEvent = 1 << 0;  // pvpanic's PVPANIC_PANICKED

ImageFormat format_of(const std::string& path) {
  // Only a look: DiskImage::open() says what is wrong with the file. O_NONBLOCK, since it may be a FIFO.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  return fd ? image_format(fd.get()) : ImageFormat::kUnknown;
}

std::unexpected<Error> too_much_memory(u64 bytes, std::string_view reason) {
  return fail(ErrorKind::kBadData, "--memory {}: {}", size_text(bytes), reason);
}

// A write to a pipe without a reader, or beyond the limit on file sizes, must be an error and not the end of
// the process. The signal that goes with it is for the thread that writes, which with io_uring is this one.
class WriteSignalsBlock {
 public:
  WriteSignalsBlock() {
    sigset_t pending;
    ::sigpending(&pending);
    ::sigemptyset(&ours_);
    ::sigemptyset(&blocked_);
    for (const int signal : {SIGPIPE, SIGXFSZ}) {
      ::sigaddset(&blocked_, signal);
      if (::sigismember(&pending, signal) == 0) ::sigaddset(&ours_, signal);
    }
    ::pthread_sigmask(SIG_BLOCK, &blocked_, &before_);
  }
  ~WriteSignalsBlock() {
    const timespec at_once{};
    while (::sigtimedwait(&ours_, nullptr, &at_once) > 0) continue;
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t blocked_{}, before_{};
  sigset_t ours_{};  // those that were not pending before
};

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(const Config& config, Callbacks callbacks) {
  GuestRam ram = UVMM_TRY(GuestRam::create(config.memory));
  std::unique_ptr<Machine> machine(new Machine(std::move(callbacks), std::move(ram)));
  UVMM_CHECK(machine->build(config));
  return machine;
}

Machine::Machine(Callbacks callbacks, GuestRam ram)
    : callbacks_(std::move(callbacks)),
      log_(callbacks_.log, callbacks_.log_level, callbacks_.event),
      ram_(std::move(ram)),
      memory_(ram_.memory()) {}

Result<void> Machine::build(const Config& config) {
  std::vector<CmdlineDisk> kinds;
  std::vector<DiskImage> disks;
  for (const DiskConfig& disk : config.disks) {
    if (disk.disk) {
      kinds.push_back({.root = disk.root, .read_only = disk.read_only.value_or(false)});
      continue;
    }
    const ImageFormat format = format_of(disk.path);
    const bool read_only = disk.read_only.value_or(is_read_only(format));
    disks.push_back(UVMM_TRY(DiskImage::open(disk, read_only)));
    kinds.push_back({.root = disk.root, .read_only = read_only, .format = format});
  }
  UVMM_CHECK(open_net_ends(config));
  std::vector<fuse::Share> shares = UVMM_TRY(open_shares(config));
  const GuestAddress entry = UVMM_TRY(load(config, kinds));
  UVMM_CHECK(create_vm(config, entry));
  uring_ = UVMM_TRY(Uring::create());
  end_fd_ = UVMM_TRY(create_eventfd(EFD_NONBLOCK));
  own_io_ = std::make_unique<OpGroup>(*uring_);
  return attach_devices(config, std::move(disks), std::move(shares));
}

// Puts into RAM all that the kernel finds there. Returns where it is entered.
Result<GuestAddress> Machine::load(const Config& config, std::span<const CmdlineDisk> disks) {
  const KernelSource source{
      .path = config.kernel,
      .cache_directory = config.kernel_cache ? default_kernel_cache_directory() : std::string(),
      .may_map = ram_.may_map(),
  };
  const LoadedKernel kernel = UVMM_TRY(load_kernel(source, memory_, log_));
  const layout::Range initrd = UVMM_TRY(load_initrds(config.initrds, memory_, kernel));
  cmdline_ = UVMM_TRY(build_cmdline(
      {
          .text = config.cmdline,
          .default_text = config.default_cmdline,
          .console = config.console.kind != ConsoleConfig::Kind::kOff,
          .earlycon = config.earlycon,
          .initrd = !config.initrds.empty(),
          .disks = disks,
      },
      kernel.header.cmdline_size));
  UVMM_CHECK(write_boot_params({.header = kernel.header, .cmdline = cmdline_, .initrd = initrd}, memory_));
  UVMM_CHECK(write_acpi_tables(memory_, config.cpus));
  const std::vector<std::string> credentials = UVMM_TRY(read_credentials(config.credentials));
  UVMM_CHECK(write_smbios_tables(
      memory_, {.uuid = parse_uuid(config.uuid).value_or(Uuid{}), .oem_strings = credentials}));
  if (!memory_.write(kResetFlag, kNoResetRequested))
    return fail(ErrorKind::kBadData, "the guest has too little memory");
  return kernel.entry;
}

// In the order that KVM does fastest: memory slots, interrupt controller, vCPUs; eventfds come later.
Result<void> Machine::create_vm(const Config& config, GuestAddress entry) {
  const kvm::System system = UVMM_TRY(kvm::System::open());
  const int most_cpus = system.check_extension(KVM_CAP_MAX_VCPUS);
  if (config.cpus > static_cast<u32>(most_cpus))
    return fail(ErrorKind::kBadData, "--cpus {}: KVM here has at most {}", config.cpus, most_cpus);
  vm_ = std::make_unique<kvm::Vm>(UVMM_TRY(system.create_vm()));

  u32 slot = 0;
  for (const GuestMemory::Region& region : memory_.regions()) {
    const auto set =
        vm_->set_user_memory_region(slot++, region.start, region.bytes, kvm::Vm::Access::kReadWrite);
    if (!set) return too_much_memory(config.memory.bytes, set.error().message);
  }
  bus_ = UVMM_TRY(DeviceBus::create(*vm_, count_devices(config)));
  UVMM_CHECK(bus_->map(slot));

  UVMM_CHECK(arch::create_interrupt_controller(*vm_, config.cpus));
  routes_ = std::make_unique<kvm::MsiRoutes>(*vm_, arch::needs_extended_destinations(config.cpus));

  std::vector<kvm_cpuid_entry2> cpuid = UVMM_TRY(arch::supported_cpuid(system, config.cpus));
  const GuestMemory::Region& highest = memory_.regions().back();
  const u32 address_bits = arch::physical_address_bits(cpuid);
  if ((address(highest.start) + highest.bytes.size() - 1) >> address_bits != 0)
    return too_much_memory(config.memory.bytes,
                           fmt::format("this processor has {} address bits", address_bits));
  for (u32 index = 0; index < config.cpus; ++index) {
    kvm::Vcpu vcpu = UVMM_TRY(vm_->create_vcpu(index));
    arch::set_apic_id(cpuid, index);
    UVMM_CHECK(arch::set_up_vcpu(vcpu, cpuid));
    if (index == 0) UVMM_CHECK(arch::set_up_entry(vcpu, memory_, entry, cpuid));
    vcpus_.push_back(
        std::make_unique<VcpuThread>(std::move(vcpu), index, memory_, static_cast<ExitHandler&>(*this)));
  }
  return {};
}

Machine::~Machine() {
  if (uring_) uring_->close();
  vcpus_.clear();
  bus_.reset();  // devices before the host ends that they write to
}

Result<void> Machine::start_vcpus() {
  // What the guest creates in a share has its umask, for which this thread must have one of its own.
  if (has_shares_ && ::unshare(CLONE_FS) < 0)
    return fail(ErrorKind::kHost, "cannot serve the shares: unshare: {}", error_text(errno));
  for (std::size_t i = vcpus_.size(); i-- > 0;) {
    if (i == 0 && callbacks_.before_first_run) callbacks_.before_first_run();
    UVMM_CHECK(vcpus_[i]->start());
  }
  return {};
}

Outcome Machine::run() {
  const WriteSignalsBlock no_write_signals;
  if (console_end_) console_end_->start([this] { end(End::kStopped, {}, true); });
  {
    const std::lock_guard lock(pause_mutex_);  // of the two events the start is the first
    phase_.store(Phase::kRunning);
    log_.event(Event::Kind::kStarted);
    if (paused_.load()) log_.event(Event::Kind::kPaused);
  }
  if (Result<void> started = start_vcpus(); !started) end(End::kInternalError, started.error().message);
  uring_->run();

  uring_->close();
  for (auto& vcpu : vcpus_) vcpu->stop();
  for (auto& vcpu : vcpus_) vcpu->join();
  if (vsock_host_) vsock_host_->close();
  uring_->catch_up();  // the guest's last words may still be in a queue
  if (console_end_) {
    console_end_->close();
    uring_->turn_until([&] { return console_end_->closed(); });
  }
  // Nothing may go away while the kernel has it, and only this thread can wait for that.
  bus_->shut_down();
  own_io_->cancel_all();
  // What an embedded disk was asked for is in no ring.
  if (!embedded_disks_.empty()) uring_->turn_until([this] { return bus_->stopped(); });
  for (const auto& disk : embedded_disks_) disk->close();
  uring_->drain();
  log_.debug("I/O thread: {} system calls", uring_->enters());
  if (outcome_.end == End::kReboot || outcome_.end == End::kTripleFault) {
    outcome_.end = what_reset_means();
    // The registers of a triple fault that was the guest's way to reset the machine tell nothing.
    if (outcome_.end != End::kTripleFault) outcome_.detail.clear();
  }
  if (outcome_.end == End::kPanic) tell_panic(outcome_.detail);
  phase_.store(Phase::kEnded);
  log_.event({.kind = Event::Kind::kEnded, .detail = outcome_.detail, .end = outcome_.end});
  return outcome_;
}

void Machine::announce_end() {
  ::eventfd_write(end_fd_.get(), 1);
}

void Machine::shut_down(std::optional<std::chrono::milliseconds> deadline) {
  uring_->post([this, deadline] { own_tasks_.spawn(press_power_button(deadline)); });
}

Task<> Machine::press_power_button(std::optional<std::chrono::milliseconds> deadline) {
  log_.event(Event::Kind::kShutdownRequested);
  if (!power_button_ || !power_button_->press()) {
    log_.info("the guest has no driver for the power button");
    stop();
    co_return;
  }
  if (!deadline) co_return;
  const auto wait = std::chrono::nanoseconds(*deadline);
  const u64 nanoseconds = static_cast<u64>(std::max<i64>(wait.count(), 0));
  co_await own_io_->sleep(nanoseconds);
  stop();
}

void Machine::stop() {
  end(End::kStopped);
}

void Machine::resize_console(u16 columns, u16 rows) {
  if (console_) uring_->post([this, columns, rows] { console_->resize(columns, rows); });
}

// Whatever the pipe takes of it.
u64 Machine::send_console_input(std::string_view bytes) {
  if (!console_input_write_ || bytes.empty()) return 0;
  const ssize_t written = ::write(console_input_write_.get(), bytes.data(), bytes.size());
  return written < 0 ? 0 : static_cast<u64>(written);
}

// As a program of the host does that finds the device's socket, but without one.
Result<int> Machine::connect_vsock(u32 port) {
  if (!vsock_) return fail(ErrorKind::kUsage, "cannot connect to port {}: the VM has no vsock device", port);
  if (state() == State::kCreated)
    return fail(ErrorKind::kUnavailable, "cannot connect to port {}: the VM does not run yet", port);
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0)
    return fail(ErrorKind::kHost, "cannot make a socket: {}", error_text(errno));
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  ::fcntl(theirs.get(), F_SETFL, O_NONBLOCK);
  const std::string line = connect_request(port);
  ::send(ours.get(), line.data(), line.size(), MSG_NOSIGNAL);
  uring_->call([&] { vsock_->take_client(std::move(theirs)); });
  theirs.reset();  // when it was not taken
  for (char answer = 0; answer != '\n';) {
    const ssize_t got = ::recv(ours.get(), &answer, 1, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return with_hint(fail(ErrorKind::kUnavailable, "cannot connect to port {}: the guest refuses", port),
                       "nothing listens there, or the guest has no driver for it yet");
    }
  }
  return ours.release();
}

void Machine::pause() {
  const std::lock_guard lock(pause_mutex_);
  for (const auto& vcpu : vcpus_) vcpu->pause();
  for (const auto& vcpu : vcpus_) vcpu->await_pause();
  set_paused(true);
}

void Machine::resume() {
  const std::lock_guard lock(pause_mutex_);
  for (const auto& vcpu : vcpus_) vcpu->resume();
  set_paused(false);
}

void Machine::set_paused(bool paused) {
  const bool changed = paused_.exchange(paused) != paused;
  if (changed && phase_.load() == Phase::kRunning)
    log_.event(paused ? Event::Kind::kPaused : Event::Kind::kResumed);
}

State Machine::state() const {
  switch (phase_.load()) {
    case Phase::kCreated:
      return State::kCreated;
    case Phase::kRunning:
      return paused_.load() ? State::kPaused : State::kRunning;
    case Phase::kEnded:
      break;
  }
  return State::kEnded;
}

Statistics Machine::statistics() const {
  Statistics statistics{.devices = bus_->statistics(), .balloon_bytes = balloon_bytes()};
  for (const auto& vcpu : vcpus_)
    statistics.vcpus.push_back({.exits = vcpu->exits(), .cpu_time = vcpu->cpu_time()});
  return statistics;
}

void Machine::set_balloon(u64 bytes) {
  if (balloon_) uring_->post([this, bytes] { balloon_->set_target(bytes); });
}

MemoryStatistics Machine::memory_statistics() {
  if (!balloon_) return {};
  uring_->post([this] { balloon_->ask_for_stats(); });
  return {.total_bytes = balloon_->stat(VIRTIO_BALLOON_S_MEMTOT),
          .free_bytes = balloon_->stat(VIRTIO_BALLOON_S_MEMFREE),
          .available_bytes = balloon_->stat(VIRTIO_BALLOON_S_AVAIL),
          .cache_bytes = balloon_->stat(VIRTIO_BALLOON_S_CACHES),
          .swapped_in_bytes = balloon_->stat(VIRTIO_BALLOON_S_SWAP_IN),
          .swapped_out_bytes = balloon_->stat(VIRTIO_BALLOON_S_SWAP_OUT),
          .major_faults = balloon_->stat(VIRTIO_BALLOON_S_MAJFLT),
          .minor_faults = balloon_->stat(VIRTIO_BALLOON_S_MINFLT)};
}

ExitCounts Machine::exits() const {
  ExitCounts sum;
  for (const auto& vcpu : vcpus_) {
    const ExitCounts counts = vcpu->exits();
    sum.io_in += counts.io_in;
    sum.io_out += counts.io_out;
    sum.mmio_read += counts.mmio_read;
    sum.mmio_write += counts.mmio_write;
    sum.other += counts.other;
  }
  return sum;
}

void Machine::tell_panic(std::string_view detail) {
  if (!panicked_.exchange(true)) log_.event({.kind = Event::Kind::kGuestPanic, .detail = detail});
}

// The first end counts; what follows from it (the other vCPUs' ends, say) does not.
void Machine::end(End how, std::string detail, bool by_escape) {
  {
    const std::lock_guard lock(end_mutex_);
    if (has_ended_) return;
    has_ended_ = true;
    outcome_ = {how, std::move(detail), by_escape};
  }
  uring_->stop();
}

// A kernel that panics resets the machine (panic=-1), and with reboot=t a reset is a triple fault.
End Machine::what_reset_means() const {
  if (panicked_ || (console_ && console_->saw_panic())) return End::kPanic;
  if (outcome_.end == End::kReboot) return End::kReboot;
  return memory_.read<u16>(kResetFlag) == kNoResetRequested ? End::kTripleFault : End::kReboot;
}

void Machine::ended(VcpuEnd reason, std::string detail) {
  switch (reason) {
    case VcpuEnd::kPowerOff:
      return end(End::kPowerOff);
    case VcpuEnd::kReset:
      return end(End::kReboot);
    case VcpuEnd::kCrash:
      return end(End::kPanic, std::move(detail));
    case VcpuEnd::kTripleFault:
      return end(End::kTripleFault, std::move(detail));
    case VcpuEnd::kInternalError:
      return end(End::kInternalError, std::move(detail));
  }
}

void Machine::pio_read(u16 port, std::span<u8> bytes) {
  std::ranges::fill(bytes, 0xFF);
  if (port == layout::kPanicPort) bytes[0] = kPanicEvent;
  if (port == layout::kSleepStatusPort) bytes[0] = 0;
  if (earlycon_ && port >= layout::kEarlyconPort && port - layout::kEarlyconPort < layout::kEarlyconPorts)
    bytes[0] = port == kLineStatusPort ? kTransmitterEmpty : 0;
}

void Machine::pio_write(u16 port, std::span<const u8> bytes) {
  const u8 value = bytes[0];
  if (port == layout::kResetPort && value == layout::kResetValue) return end(End::kReboot);
  if (port == layout::kSleepControlPort && (value & layout::kSleepEnable) &&
      layout::sleep_type(value) == layout::kSleepTypeOff)
    return end(End::kPowerOff);
  if (port == layout::kPanicPort && (value & kPanicEvent)) tell_panic({});
  if (earlycon_ && port == kTransmitPort) earlycon_byte(value);
}

void Machine::mmio_read(GuestAddress gpa, std::span<u8> bytes) {
  std::ranges::fill(bytes, 0xFF);
  if (DeviceBus::contains(gpa)) uring_->call([&] { bus_->read(gpa, bytes); });
}

void Machine::mmio_write(GuestAddress gpa, std::span<const u8> bytes) {
  if (DeviceBus::contains(gpa)) uring_->call([&] { bus_->write(gpa, bytes); });
}

void Machine::earlycon_byte(u8 byte) {
  constexpr std::size_t kLongestLine = 512;
  const std::lock_guard lock(earlycon_mutex_);
  if (byte != '\n') {
    if (byte != '\r') earlycon_line_ += static_cast<char>(byte);
    if (earlycon_line_.size() < kLongestLine) return;
  }
  log_.warning("earlycon: {}", earlycon_line_);
  earlycon_line_.clear();
}

}  // namespace uvmm
