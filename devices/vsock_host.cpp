// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_host.h"

#include <linux/virtio_vsock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
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

Result<std::unique_ptr<VsockHost>> VsockHost::open(const std::string& path) {
  UnixListener streams = UVMM_TRY(UnixListener::listen(path, {.backlog = kBacklog}));
  UnixListener records =
      UVMM_TRY(UnixListener::listen(path + "_seqpacket", {.type = SOCK_SEQPACKET, .backlog = kBacklog}));
  return std::unique_ptr<VsockHost>(new VsockHost(path, std::move(streams), std::move(records)));
}

VsockHost::VsockHost(std::string path, UnixListener streams, UnixListener records)
    : path_(std::move(path)),
      streams_(std::move(streams)),
      records_(std::move(records)),
      most_fds_(descriptor_limit() - static_cast<int>(kReservedFds)) {}

std::optional<sockaddr_un> VsockHost::address_of(u32 port) const {
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
  streams_.remove_path();
  records_.remove_path();
}

}  // namespace uvmm
