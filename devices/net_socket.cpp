// SPDX-License-Identifier: Apache-2.0
#include "devices/net_socket.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace uvmm {
namespace {

constexpr u32 kDefaultMtu = 1500;
constexpr u32 kLinkBytes = 18;  // of an Ethernet header with a VLAN tag
constexpr u64 kMostPieces = 1024;

// SOCK_STREAM and its kin; 0 if it is no socket.
int socket_type(int fd) {
  int type = 0;
  socklen_t bytes = sizeof type;
  ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes);
  return type;
}

}  // namespace

Result<std::unique_ptr<NetEnd>> NetSocket::open(const NetConfig& config) {
  const int number = config.fds.front();
  Fd fd(::fcntl(number, F_DUPFD_CLOEXEC, 0));
  if (!fd) return fail(ErrorKind::kBadData, "--net socket={}: {}", number, error_text(errno));
  const int type = socket_type(fd.get());
  if (type != SOCK_DGRAM && type != SOCK_SEQPACKET) {
    return with_hint(fail(ErrorKind::kBadData, "--net socket={}: is no socket of messages", number),
                     "one of socketpair(AF_UNIX, SOCK_SEQPACKET)");
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0)
    return fail(ErrorKind::kHost, "--net socket={}: {}", number, error_text(errno));
  const u32 mtu = config.mtu != 0 ? config.mtu : kDefaultMtu;
  return std::unique_ptr<NetEnd>(new NetSocket(std::move(fd), type == SOCK_SEQPACKET, mtu + kLinkBytes));
}

NetSocket::NetSocket(Fd fd, bool has_end, u32 longest_frame)
    : PlainNetEnd(longest_frame), fd_(std::move(fd)), has_end_(has_end) {
  list_.reserve(kMostPieces);
}

// The header, of which nothing is negotiated, is zeros; the frame goes behind it.
i32 NetSocket::receive(Io& io, u16, std::span<const iovec> buffers) {
  list_.clear();
  u64 header_left = kHeaderBytes;
  for (const iovec& buffer : buffers) {
    const u64 of_header = std::min<u64>(buffer.iov_len, header_left);
    if (of_header > 0) std::memset(buffer.iov_base, 0, of_header);
    header_left -= of_header;
    if (buffer.iov_len == of_header) continue;
    list_.push_back({static_cast<u8*>(buffer.iov_base) + of_header, buffer.iov_len - of_header});
  }
  const i32 got = io.readv_now(fd_.get(), list_);
  if (got < 0) return got;
  // The other side has closed its end; or it has sent an empty message, which is no frame.
  if (got == 0) return has_end_ ? -ENOTCONN : -EAGAIN;
  return got + static_cast<i32>(kHeaderBytes);
}

Task<i32> NetSocket::readable(Io& io, u16) {
  const int fd = fd_.get();
  const i32 ready = co_await io.poll(fd, POLLIN);
  co_return ready;
}

Task<i32> NetSocket::send_in_turn(Io& io, std::span<const iovec> frame) {
  const std::span<const iovec> parts = frame.subspan(1);  // without the header
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  const int fd = fd_.get();
  for (;;) {
    const i32 done = co_await io.sendmsg(fd, message, MSG_NOSIGNAL);
    if (done != -EAGAIN && done != -EINTR) co_return done;
    const i32 ready = co_await io.poll(fd, POLLOUT);
    if (ready < 0) co_return ready;
  }
}

}  // namespace uvmm
