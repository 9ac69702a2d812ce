// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_host.h"

#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <string_view>

#include "devices/vsock_credit.h"
#include "vmm/base/descriptor_path.h"

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
  if (::access("/proc/self/fd", X_OK) < 0) return host;
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  host->directory_ =
      Fd(::open(directory.empty() ? "." : directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!host->directory_)
    return fail(ErrorKind::kHost, "cannot use the directory of {}: {}", path, error_text(errno));
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

// A path that is looked at and then connected to could be another file's by then: others may write to its
// directory.
std::optional<VsockHost::Target> VsockHost::target_of(u32 port) const {
  if (path_.empty()) return std::nullopt;
  const std::string path = fmt::format("{}_{}", path_, port);
  Target target;
  if (path.size() >= sizeof target.name.sun_path) return std::nullopt;
  struct stat status{};
  if (!directory_) {
    if (::lstat(path.c_str(), &status) < 0 || !S_ISSOCK(status.st_mode)) return std::nullopt;
    path.copy(target.name.sun_path, path.size());
    return target;
  }
  const char* const name = path.c_str() + path.rfind('/') + 1;  // from 0 on if there is no slash
  target.socket = Fd(::openat(directory_.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  const int fd = target.socket.get();
  if (fd < 0 || !within_reserve(fd)) return std::nullopt;
  if (::fstat(fd, &status) < 0 || !S_ISSOCK(status.st_mode)) return std::nullopt;
  std::string_view(DescriptorPath(fd).c_str()).copy(target.name.sun_path, sizeof target.name.sun_path - 1);
  return target;
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
