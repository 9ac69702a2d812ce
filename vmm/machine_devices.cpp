// SPDX-License-Identifier: Apache-2.0
// What a Machine has on its bus: each device with its end of the host, in the guest's probe order.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "devices/block.h"
#include "devices/fs.h"
#include "devices/net.h"
#include "devices/net_socket.h"
#include "devices/passt.h"
#include "devices/rng.h"
#include "devices/tap.h"
#include "vmm/machine.h"
#include "vmm/shares.h"

namespace uvmm {
namespace {

constexpr u16 kMostQueuesByDefault = 4;

u16 queues_by_default(const Config& config) {
  return static_cast<u16>(std::min<u32>(config.cpus, kMostQueuesByDefault));
}

Result<std::unique_ptr<NetEnd>> open_net_end(const NetConfig& net, u16 pairs, Log& log) {
  if (net.kind == NetConfig::Kind::kUser) return PasstEnd::start(net, log);
  if (net.kind == NetConfig::Kind::kSocket) return NetSocket::open(net);
  std::unique_ptr<NetEnd> end = UVMM_TRY(Tap::open(net, pairs, log));
  return end;
}

// For messages.
std::string name_of(const NetConfig& net) {
  switch (net.kind) {
    case NetConfig::Kind::kUser:
      break;
    case NetConfig::Kind::kTap:
      return "net " + net.tap;
    case NetConfig::Kind::kFds:
      return fmt::format("net fd={}", net.fds.front());
    case NetConfig::Kind::kSocket:
      return fmt::format("net socket={}", net.fds.front());
  }
  return "net user";
}

}  // namespace

Result<void> Machine::open_net_ends(const Config& config) {
  for (const NetConfig& net : config.nets)
    net_ends_.push_back(UVMM_TRY(open_net_end(net, queues_by_default(config), log_)));
  return {};
}

Result<void> Machine::attach_devices(const Config& config, std::vector<DiskImage> disks,
                                     std::vector<fuse::Share> shares) {
  const DeviceBus::Host host{*uring_, memory_, log_, *routes_};
  earlycon_ = config.earlycon;

  const u16 by_default = queues_by_default(config);
  auto image = disks.begin();  // of those that have one
  for (const DiskConfig& disk : config.disks) {
    const BlockOptions options{.serial = disk.serial, .queues = disk.queues ? disk.queues : by_default};
    std::unique_ptr<Block> block;
    const EmbeddedDisk* embedded = nullptr;
    if (disk.disk) {
      EmbeddedDisk& door = *embedded_disks_.emplace_back(UVMM_TRY(EmbeddedDisk::create(*uring_, disk)));
      embedded = &door;
      block = std::make_unique<Block>(door, door.image(), options, log_);
    } else {
      block = std::make_unique<Block>(*uring_, std::move(*image++), options, log_);
    }
    disks_.push_back({block.get(), embedded});
    bus_->attach(std::move(block), "disk " + disk.path, host);
  }
  for (u32 i = 0; i < config.nets.size(); ++i) {
    const NetConfig& net = config.nets[i];
    const MacAddress mac = net.mac.value_or(default_mac(config.name, *net_ends_[i], i));
    const NetOptions options{.name = name_of(net), .mac = mac, .mtu = net.mtu, .queue_size = net.queue_size};
    auto device = std::make_unique<Net>(*uring_, *net_ends_[i], options, log_);
    nets_.push_back(device.get());
    bus_->attach(std::move(device), options.name, host);
  }
  for (fuse::Share& share : shares) {
    std::string name = "share " + share.options.path;
    auto fs = std::make_unique<Fs>(*uring_, std::move(share), by_default, share_limits(config), log_);
    bus_->attach(std::move(fs), std::move(name), host);
  }
  has_shares_ = !shares.empty();
  if (config.console.kind != ConsoleConfig::Kind::kOff)
    UVMM_CHECK(attach_console_device(config.console, host));
  if (config.vsock) {
    vsock_host_ = UVMM_TRY(VsockHost::open(config.vsock->path, config.vsock->listeners));
    auto vsock = std::make_unique<Vsock>(*uring_, *vsock_host_, config.vsock->cid, log_);
    vsock_ = vsock.get();
    bus_->attach(std::move(vsock), "vsock", host);
  }
  if (config.power_button) {
    auto button = std::make_unique<PowerButton>(*uring_, log_);
    power_button_ = button.get();
    bus_->attach(std::move(button), "power button", host);
  }
  if (config.balloon.enabled) {
    const MemoryConfig& ram = config.memory;
    const BalloonOptions options{
        .bytes = config.balloon.bytes,
        .deflate_on_oom = config.balloon.deflate_on_oom,
        // Memory that is to be there beforehand is not to go by itself.
        .free_page_reporting = config.balloon.free_page_reporting && !ram.hugepages && !ram.prefault,
        .shared_memory = ram.shared,
    };
    auto balloon = std::make_unique<Balloon>(*uring_, memory_, options, log_);
    balloon_ = balloon.get();
    bus_->attach(std::move(balloon), "balloon", host);
  }
  if (config.rng) bus_->attach(std::make_unique<Rng>(*uring_), "rng", host);
  return {};
}

Result<void> Machine::attach_console_device(const ConsoleConfig& config, const DeviceBus::Host& host) {
  ConsoleConfig console = config;
  if (console.kind == ConsoleConfig::Kind::kSink) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) < 0)
      return fail(ErrorKind::kHost, "cannot make a pipe for the console: {}", error_text(errno));
    console_input_read_ = Fd(ends[0]);
    console_input_write_ = Fd(ends[1]);
    ::fcntl(ends[1], F_SETFL, O_NONBLOCK);
    console.input_fd = ends[0];
  }
  console_end_ = UVMM_TRY(ConsoleEnd::open(*uring_, console, log_));
  auto device = std::make_unique<Console>(*uring_, *console_end_, log_);
  console_ = device.get();
  bus_->attach(std::move(device), "console", host);
  return {};
}

}  // namespace uvmm
