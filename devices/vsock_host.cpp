// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_host.h"

#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <climits>

#include "devices/vsock_credit.h"

namespace uvmm {
namespace {

constexpr int kBacklog = 4096;  // clients that wait to be accepted

int descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return INT_MAX;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, INT_MAX));
}

}  // namespace

Result<std::unique_ptr<VsockHost>> VsockHost::open(const std::string& path,
                                                   std::vector<VsockListener> listeners) {
  std::unique_ptr<VsockHost> host(new VsockHost(path, std::move(listeners)));
  if (path.empty()) return host;
  host->streams_.emplace(UVMM_TRY(UnixListener::listen(path, {.backlog = kBacklog})));
  host->records_.emplace(
      UVMM_TRY(UnixListener::listen(path + "_seqpacket", {.type = SOCK_SEQPACKET, .backlog = kBacklog})));
  return host;
}

VsockHost::VsockHost(const std::string& path, std::vector<VsockListener> listeners)
    : path_(path),
      listeners_(std::move(listeners)),
      most_fds_(descriptor_limit() - static_cast<int>(kReservedFds)) {}

Fd VsockHost::connect_to_embedder(u32 port, u16 type) const {
  const auto listener = std::ranges::find(listeners_, port, &VsockListener::port);
  if (listener == listeners_.end()) return Fd();
  const bool records = type == VIRTIO_VSOCK_TYPE_SEQPACKET;
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, (records ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends.data()) < 0)
    return Fd();
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  if (!within_reserve(std::max(ends[0], ends[1])) || ::fcntl(ours.get(), F_SETFL, O_NONBLOCK) < 0)
    return Fd();
  if (records) make_room(ours.get());
  listener->connected(theirs.release());
  return ours;
}

std::optional<sockaddr_un> VsockHost::address_of(u32 port) const {
  if (path_.empty()) return std::nullopt;
  const std::string path = fmt::format("{}_{}", path_, port);
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof name.sun_path) return std::nullopt;
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) return std::nullopt;
  path.copy(name.sun_path, path.size());
  return name;
}

Fd VsockHost::new_socket(u16 type) const {
  const bool records = type == VIRTIO_VSOCK_TYPE_SEQPACKET;
  Fd fd(::socket(AF_UNIX, (records ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd && !within_reserve(fd.get())) fd.reset();
  if (fd && records) make_room(fd.get());
  return fd;
}

void VsockHost::make_room(int fd) {
  const int bytes = VsockCredit::kWindow;  // the kernel doubles it, for what else a record takes
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void VsockHost::close() {
  if (streams_) streams_->remove_path();
  if (records_) records_->remove_path();
}

}  // namespace uvmm
