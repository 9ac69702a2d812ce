// SPDX-License-Identifier: Apache-2.0
// Machine: the one place that knows all parts of a VM, puts them together and routes what its vCPUs do.
//
// create() opens and builds everything; run() makes the calling thread the I/O thread until the VM's end.
// All but these and the destructor may be called on any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "boot/cmdline.h"
#include "devices/balloon.h"
#include "devices/block.h"
#include "devices/console.h"
#include "devices/console_end.h"
#include "devices/disk_image.h"
#include "devices/fuse/share.h"
#include "devices/net.h"
#include "devices/net_end.h"
#include "devices/power_button.h"
#include "devices/vsock.h"
#include "devices/vsock_host.h"
#include "vmm/base/fd.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/log.h"
#include "vmm/base/result.h"
#include "vmm/base/uring.h"
#include "vmm/device_bus.h"
#include "vmm/embedded_disk.h"
#include "vmm/guest_ram.h"
#include "vmm/kvm/msi_routes.h"
#include "vmm/kvm/vm.h"
#include "vmm/vcpu.h"

namespace uvmm {

class Machine final : private ExitHandler {
 public:
  static Result<std::unique_ptr<Machine>> create(const Config& config, Callbacks callbacks);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  Outcome run();
  // run() is over, and its outcome is where others find it.
  void announce_end();
  void shut_down(std::optional<std::chrono::milliseconds> deadline);
  void stop();
  void resize_console(u16 columns, u16 rows);
  void pause();
  void resume();
  u64 send_console_input(std::string_view bytes);
  Result<int> connect_vsock(u32 port);
  void set_balloon(u64 bytes);
  MemoryStatistics memory_statistics();
  u64 balloon_bytes() const { return balloon_ ? balloon_->actual_bytes() : 0; }

  // From machine_requests.cpp.
  Result<u64> resize_disk(std::size_t index);
  Result<void> plug_in_net(std::size_t index, bool plugged_in);
  Result<void> attach_console(Fd socket);
  void set_log_level(LogLevel level) { log_.set_level(level); }

  std::string_view cmdline() const { return cmdline_; }
  State state() const;
  Statistics statistics() const;
  ExitCounts exits() const;
  int end_fd() const { return end_fd_.get(); }

 private:
  Machine(Callbacks callbacks, GuestRam ram);
  Result<void> build(const Config& config);
  Result<GuestAddress> load(const Config& config, std::span<const CmdlineDisk> disks);
  Result<void> create_vm(const Config& config, GuestAddress entry);
  Result<void> start_vcpus();
  // From machine_devices.cpp.
  Result<void> open_net_ends(const Config& config);
  Result<void> attach_devices(const Config& config, std::vector<DiskImage> disks,
                              std::vector<fuse::Share> shares);
  Result<void> attach_console_device(const ConsoleConfig& config, const DeviceBus::Host& host);

  void set_paused(bool paused);
  void tell_panic(std::string_view detail);
  Task<> press_power_button(std::optional<std::chrono::milliseconds> deadline);
  void end(End how, std::string detail = {}, bool by_escape = false);
  End what_reset_means() const;

  void pio_read(u16 port, std::span<u8> bytes) override;
  void pio_write(u16 port, std::span<const u8> bytes) override;
  void mmio_read(GuestAddress gpa, std::span<u8> bytes) override;
  void mmio_write(GuestAddress gpa, std::span<const u8> bytes) override;
  void ended(VcpuEnd reason, std::string detail) override;
  void earlycon_byte(u8 byte);

  Callbacks callbacks_;
  Log log_;
  GuestRam ram_;
  GuestMemory memory_;
  std::string cmdline_;

  std::unique_ptr<Uring> uring_;
  std::unique_ptr<OpGroup> own_io_;  // for what is of no device
  TaskScope own_tasks_;
  std::unique_ptr<kvm::Vm> vm_;
  std::unique_ptr<kvm::MsiRoutes> routes_;
  std::vector<std::unique_ptr<EmbeddedDisk>> embedded_disks_;
  Fd console_input_read_, console_input_write_;  // a pipe, for what the embedding program types
  std::unique_ptr<ConsoleEnd> console_end_;
  std::vector<std::unique_ptr<NetEnd>> net_ends_;  // as in the configuration
  std::unique_ptr<VsockHost> vsock_host_;
  std::unique_ptr<DeviceBus> bus_;
  struct AttachedDisk {
    Block* block;
    const EmbeddedDisk* embedded;  // in place of an image, or null
  };
  std::vector<AttachedDisk> disks_;      // on the bus, as in the configuration
  std::vector<Net*> nets_;               // likewise
  Console* console_ = nullptr;           // on the bus, if there is one
  Vsock* vsock_ = nullptr;               // likewise
  PowerButton* power_button_ = nullptr;  // likewise
  Balloon* balloon_ = nullptr;           // likewise
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;

  std::mutex pause_mutex_;
  std::atomic<bool> paused_ = false;
  enum class Phase : u8 { kCreated, kRunning, kEnded };
  std::atomic<Phase> phase_ = Phase::kCreated;
  Fd end_fd_;  // an eventfd

  std::atomic<bool> panicked_ = false;  // the guest said so by pvpanic
  bool has_shares_ = false;
  bool earlycon_ = false;
  std::mutex earlycon_mutex_;
  std::string earlycon_line_;

  std::mutex end_mutex_;
  bool has_ended_ = false;
  Outcome outcome_;
};

}  // namespace uvmm
