// SPDX-License-Identifier: Apache-2.0
#include "devices/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "devices/net_header.h"
#include "vmm/base/result.h"

#ifndef TUN_F_USO4  // Linux 6.2
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace uvmm {
namespace {

constexpr char kDevice[] = "/dev/net/tun";
constexpr short kFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
constexpr u32 kLinkBytes = 22;  // of a frame, beside what the MTU counts: addresses, type and two VLAN tags
constexpr int kLeastFd = 3;

constexpr u64 kUso =
    feature(VIRTIO_NET_F_HOST_USO) | feature(VIRTIO_NET_F_GUEST_USO4) | feature(VIRTIO_NET_F_GUEST_USO6);

ifreq request_for(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

Fd control_socket() {
  return Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

// What the interface has for `code`; nothing if there is no such interface.
std::optional<ifreq> ask(unsigned long code, const std::string& name) {
  const Fd socket = control_socket();
  ifreq request = request_for(name);
  if (!socket || ::ioctl(socket.get(), code, &request) < 0) return std::nullopt;
  return request;
}

// Whether the interface is up and has a carrier.
bool has_link(const std::string& name) {
  const Fd socket = control_socket();
  ethtool_value link{.cmd = ETHTOOL_GLINK, .data = 0};
  ifreq request = request_for(name);
  request.ifr_data = reinterpret_cast<char*>(&link);
  return socket && ::ioctl(socket.get(), SIOCETHTOOL, &request) == 0 && link.data != 0;
}

// A socket that can be read when an interface of this network namespace has changed.
Fd open_link_events() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (socket && ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
    return {};
  return socket;
}

// What has changed is asked for elsewhere: some of it may be lost here.
void forget_link_events(int socket) {
  char byte;
  while (::recv(socket, &byte, sizeof byte, 0) >= 0 || errno == ENOBUFS || errno == EINTR) continue;
}

bool is_macvtap(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && status.st_rdev != makedev(10, 200);  // /dev/net/tun
}

std::unexpected<Error> refuse(const std::string& name, const char* what, int error) {
  return fail(kind_of_open_error(error), "--net tap={}: {}: {}", name, what, error_text(error));
}

Result<Fd> open_device() {
  Fd fd(::open(kDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (fd) return fd;
  const int error = errno;
  const bool absent = error == ENOENT || error == ENODEV || error == ENXIO;
  return with_hint(fail(absent ? ErrorKind::kUnavailable : kind_of_open_error(error), "cannot open {}: {}",
                        kDevice, error_text(error)),
                   absent ? "load the kernel's module: modprobe tun"
                          : "give yourself access, or have a tap opened by who has it: --net fd=N");
}

// Why the kernel does not let us have this tap.
std::unexpected<Error> explain(const std::string& name, int error, bool existed) {
  auto refusal = refuse(name, existed ? "cannot use the tap" : "cannot make the tap", error);
  switch (error) {
    case EPERM:
      return with_hint(
          std::move(refusal),
          existed ? fmt::format("it is not yours; to make one that is: ip tuntap add {} mode tap user $USER",
                                name)
                  : fmt::format("have it made by root: ip tuntap add {} mode tap user $USER", name));
    case EBUSY:
      return with_hint(std::move(refusal), "another process has it");
    case EINVAL:
      return with_hint(fail(ErrorKind::kBadData, "--net tap={}: is not a tap", name),
                       "a macvtap is opened by who starts uvmm: --net fd=N N<>/dev/tapINDEX");
    default:
      return refusal;
  }
}

// One more queue of tap `name`. An errno value, or 0.
int attach(int fd, const std::string& name, bool multi_queue) {
  ifreq request = request_for(name);
  request.ifr_flags = static_cast<short>(kFlags | (multi_queue ? IFF_MULTI_QUEUE : 0));
  return ::ioctl(fd, TUNSETIFF, &request) < 0 ? errno : 0;
}

Result<void> bring_up(const std::string& name, u16 mtu) {
  const Fd socket = control_socket();
  ifreq request = request_for(name);
  request.ifr_mtu = mtu;
  if (mtu != 0 && ::ioctl(socket.get(), SIOCSIFMTU, &request) < 0)
    return refuse(name, "cannot set the MTU", errno);
  request = request_for(name);
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) < 0) return refuse(name, "cannot bring it up", errno);
  request.ifr_flags |= IFF_UP;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) < 0) return refuse(name, "cannot bring it up", errno);
  return {};
}

// A copy of descriptor `number`, if it is a tap that speaks as ours do.
Result<Fd> take_one(int number, ifreq& request) {
  Fd fd(::fcntl(number, F_DUPFD_CLOEXEC, kLeastFd));
  if (!fd)
    return with_hint(fail(ErrorKind::kBadData, "--net fd={}: {}", number, error_text(errno)),
                     "it is inherited from whoever starts uvmm");
  if (::ioctl(fd.get(), TUNGETIFF, &request) < 0)
    return fail(ErrorKind::kBadData, "--net fd={}: is not a tap, or not one that is attached to an interface",
                number);
  // Whether IFF_NO_PI was set cannot be told: TUNGETIFF uses its bit for something else.
  constexpr short kNeeded = IFF_TAP | IFF_VNET_HDR;
  if ((request.ifr_flags & kNeeded) != kNeeded)
    return with_hint(fail(ErrorKind::kBadData, "--net fd={}: {} was opened in another mode", number,
                          std::string_view(request.ifr_name)),
                     "the flags must be IFF_TAP | IFF_NO_PI | IFF_VNET_HDR");
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    return fail(ErrorKind::kHost, "--net fd={}: cannot make it non-blocking: {}", number, error_text(errno));
  return fd;
}

}  // namespace

unsigned tun_offload_flags(u64 features) {
  if (!has_feature(features, VIRTIO_NET_F_GUEST_CSUM)) return 0;
  unsigned flags = TUN_F_CSUM;
  if (has_feature(features, VIRTIO_NET_F_GUEST_TSO4)) flags |= TUN_F_TSO4;
  if (has_feature(features, VIRTIO_NET_F_GUEST_TSO6)) flags |= TUN_F_TSO6;
  const bool tso = flags & (TUN_F_TSO4 | TUN_F_TSO6);
  if (tso && has_feature(features, VIRTIO_NET_F_GUEST_ECN)) flags |= TUN_F_TSO_ECN;
  // The kernel knows the two only together.
  if (has_feature(features, VIRTIO_NET_F_GUEST_USO4) && has_feature(features, VIRTIO_NET_F_GUEST_USO6))
    flags |= TUN_F_USO4 | TUN_F_USO6;
  return flags;
}

Result<std::unique_ptr<Tap>> Tap::open(const NetConfig& config, u16 pairs, Log& log) {
  std::unique_ptr<Tap> tap(new Tap);
  if (config.kind == NetConfig::Kind::kFds) {
    UVMM_CHECK(tap->take(config.fds));
  } else {
    UVMM_CHECK(tap->open_by_name(config, pairs, log));
  }
  UVMM_CHECK(tap->prepare());
  tap->look_at_interface(config, log);
  return tap;
}

// A tap that exists has to be attached to with the flags that it was made with, IFF_MULTI_QUEUE above all:
// the kernel answers EINVAL to the wrong ones.
Result<void> Tap::open_by_name(const NetConfig& config, u16 pairs, Log& log) {
  name_ = config.tap;
  const std::optional<ifreq> existing = ask(SIOCGIFFLAGS, name_);
  if (config.queues != 0) pairs = config.queues;

  Fd first = UVMM_TRY(open_device());
  bool multi_queue = pairs > 1;
  int error = attach(first.get(), name_, multi_queue);
  if (error == EINVAL && existing) {
    multi_queue = !multi_queue;
    error = attach(first.get(), name_, multi_queue);
  }
  if (error != 0) return explain(name_, error, existing.has_value());
  if (!multi_queue && config.queues > 1)
    return with_hint(
        fail(ErrorKind::kBadData, "--net tap={}: queues: {}, but it has one", name_, config.queues),
        fmt::format("make it with several: ip tuntap add {} mode tap multi_queue", name_));
  queues_.emplace_back(std::move(first));
  if (!multi_queue) pairs = 1;
  while (queues_.size() < pairs) {
    Fd another = UVMM_TRY(open_device());
    error = attach(another.get(), name_, true);
    if (error != 0) return explain(name_, error, true);
    queues_.emplace_back(std::move(another));
  }
  if (!existing) return bring_up(name_, config.mtu);
  if (!(existing->ifr_flags & IFF_UP)) log.warning("--net tap={}: the tap is down", name_);
  return {};
}

Result<void> Tap::take(const std::vector<int>& fds) {
  for (const int number : fds) {
    ifreq request{};
    Fd fd = UVMM_TRY(take_one(number, request));
    const std::string name = request.ifr_name;
    if (queues_.empty()) name_ = name;
    if (name != name_)
      return fail(ErrorKind::kBadData, "--net fd={}: is a queue of {}, but the first one is of {}", number,
                  name, name_);
    queues_.emplace_back(std::move(fd));
  }
  return {};
}

// What is the same for all, whoever opened them.
Result<void> Tap::prepare() {
  for (const Queue& queue : queues_) {
    const int bytes = sizeof(virtio_net_hdr_v1);
    if (::ioctl(queue.fd.get(), TUNSETVNETHDRSZ, &bytes) < 0)
      return fail(ErrorKind::kUnavailable, "tap {}: cannot have headers of {} bytes: {}", name_, bytes,
                  error_text(errno));
  }
  // Tried rather than asked for, since there is nothing to ask.
  offloads_ = kNetHostOffloads | kNetGuestOffloads;
  if (::ioctl(first_fd(), TUNSETOFFLOAD, tun_offload_flags(offloads_)) < 0) offloads_ &= ~kUso;
  if (::ioctl(first_fd(), TUNSETOFFLOAD, tun_offload_flags(offloads_)) < 0) offloads_ &= kNetHostOffloads;
  return set_offloads(0);
}

// Whoever has given us the descriptors may have the interface in another network namespace; one here that has
// its address, too, is it.
void Tap::look_at_interface(const NetConfig& config, Log& log) {
  longest_frame_ = kLongestFrame;
  ifreq own{};
  if (::ioctl(first_fd(), SIOCGIFHWADDR, &own) < 0) return;
  const std::optional<ifreq> here = ask(SIOCGIFHWADDR, name_);
  MacAddress mac{};
  std::memcpy(mac.data(), own.ifr_hwaddr.sa_data, mac.size());
  if (is_macvtap(first_fd())) {
    only_mac_ = mac;
    if (config.mac && *config.mac != mac)
      log.warning("net {}: mac= is not its address, {:02x}, to which alone frames come", name_,
                  fmt::join(mac, ":"));
  }
  if (!here || std::memcmp(here->ifr_hwaddr.sa_data, mac.data(), mac.size()) != 0) return;
  const std::optional<ifreq> mtu = ask(SIOCGIFMTU, name_);
  if (!mtu) return;
  longest_frame_ = static_cast<u32>(mtu->ifr_mtu) + kLinkBytes;
  if (config.mtu > mtu->ifr_mtu)
    log.warning("net {}: mtu: {}, but the interface has {}", name_, config.mtu, mtu->ifr_mtu);
  link_events_ = open_link_events();
  if (link_events_) link_up_ = has_link(name_);
}

Result<void> Tap::set_offloads(u64 features) {
  const unsigned flags = tun_offload_flags(features & offloads_);
  if (::ioctl(first_fd(), TUNSETOFFLOAD, flags) == 0) return {};
  return fail(ErrorKind::kHost, "tap {}: cannot set offloads {:#x}: {}", name_, flags, error_text(errno));
}

// The kernel spreads what it has to send over all queues that are attached.
Result<void> Tap::set_pairs(u16 pairs) {
  for (std::size_t i = 0; i < queues_.size() && queues_.size() > 1; ++i) {
    const bool wanted = i < pairs;
    if (queues_[i].attached == wanted) continue;
    ifreq request = request_for(name_);
    request.ifr_flags = wanted ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
    if (::ioctl(queues_[i].fd.get(), TUNSETQUEUE, &request) < 0)
      return fail(ErrorKind::kHost, "tap {}: cannot {} queue {}: {}", name_, wanted ? "attach" : "detach", i,
                  error_text(errno));
    queues_[i].attached = wanted;
  }
  return {};
}

Task<i32> Tap::send(Io& io, u16 pair, std::span<const iovec> frame) {
  Queue& queue = queues_[pair];
  const int fd = queue.fd.get();
  i32 done = -EAGAIN;
  while (done == -EAGAIN || done == -EINTR) {
    while (queue.full) co_await queue.turn_to_send.wait();
    const i32 written = co_await io.writev(fd, frame, Op::kNoOffset);
    done = written;
    if (done != -EAGAIN || queue.full) continue;
    queue.full = true;
    const i32 sent = co_await send_when_ready(io, fd, frame);
    done = sent;
    queue.full = false;
    queue.turn_to_send.resume_all();
  }
  co_return done;
}

Task<i32> Tap::send_when_ready(Io& io, int fd, std::span<const iovec> frame) {
  for (;;) {
    const i32 ready = co_await io.poll(fd, POLLOUT);
    if (ready < 0) co_return ready;
    if (!(ready & POLLOUT)) co_return -EIO;
    const i32 done = co_await io.writev(fd, frame, Op::kNoOffset);
    if (done != -EAGAIN && done != -EINTR) co_return done;
  }
}

i32 Tap::receive(Io& io, u16 pair, std::span<const iovec> buffers) {
  return io.readv_now(queues_[pair].fd.get(), buffers);
}

Task<i32> Tap::readable(Io& io, u16 pair) {
  const i32 ready = co_await io.poll(queues_[pair].fd.get(), POLLIN);
  // Without a frame to read: the interface is gone.
  co_return ready < 0 || (ready & POLLIN) ? ready : -EIO;
}

Task<> Tap::watch_link(Io& io) {
  const int fd = link_events_.get();
  for (i32 ready = 0; link_events_ && ready >= 0;) {
    forget_link_events(fd);
    // It may have another name by now. One that was deleted has none.
    ifreq request{};
    const bool up = ::ioctl(first_fd(), TUNGETIFF, &request) == 0 && has_link(request.ifr_name);
    if (std::exchange(link_up_, up) != up) link_changed();
    const i32 events = co_await io.poll(fd, POLLIN);
    ready = events;
  }
}

}  // namespace uvmm
