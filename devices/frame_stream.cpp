// SPDX-License-Identifier: Apache-2.0
#include "devices/frame_stream.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

namespace uvmm {
namespace {

// Copies `source` into `buffers` behind their first `offset` bytes; how much there was room for.
u32 scatter(std::span<const iovec> buffers, u64 offset, std::span<const u8> source) {
  u32 copied = 0;
  if (source.empty()) return 0;
  for (const iovec& buffer : buffers) {
    if (offset >= buffer.iov_len) {
      offset -= buffer.iov_len;
      continue;
    }
    const u64 part = std::min<u64>(buffer.iov_len - offset, source.size() - copied);
    std::memcpy(static_cast<u8*>(buffer.iov_base) + offset, source.data() + copied, part);
    copied += static_cast<u32>(part);
    offset = 0;
    if (copied == source.size()) break;
  }
  return copied;
}

// The iovecs of one sendmsg: a length, and what follows the first bytes of a frame's parts.
class Gathered {
 public:
  bool add(std::span<const iovec> parts, u64 skipped) {
    u64 bytes = 0;
    for (const iovec& part : parts) {
      const u64 left_out = std::min<u64>(skipped, part.iov_len);
      skipped -= left_out;
      if (left_out == part.iov_len) continue;
      if (count_ == iovecs_.size()) return false;
      iovecs_[count_++] = {static_cast<u8*>(part.iov_base) + left_out, part.iov_len - left_out};
      bytes += part.iov_len - left_out;
    }
    if (bytes == 0 || bytes > FrameStream::kMostFrameBytes) return false;
    length_ = htonl(static_cast<u32>(bytes));
    return true;
  }

  ssize_t send(int socket) {
    iovecs_[0] = {&length_, sizeof length_};
    msghdr message{};
    message.msg_iov = iovecs_.data();
    message.msg_iovlen = count_;
    return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  // Appends all but the first `sent` bytes to `rest`.
  void keep_rest(u64 sent, std::vector<u8>& rest) const {
    for (const iovec& part : std::span(iovecs_).first(count_)) {
      const u64 gone = std::min<u64>(sent, part.iov_len);
      sent -= gone;
      const u8* const bytes = static_cast<const u8*>(part.iov_base);
      rest.insert(rest.end(), bytes + gone, bytes + part.iov_len);
    }
  }

 private:
  u32 length_ = 0;
  std::size_t count_ = 1;  // the length is the first
  std::array<iovec, IOV_MAX> iovecs_;
};

}  // namespace

FrameStream::FrameStream(Fd socket)
    : socket_(std::move(socket)), buffer_(std::make_unique_for_overwrite<u8[]>(kBufferBytes)) {
  backlog_.reserve(kLengthBytes + kMostFrameBytes);
  static_assert(kBufferBytes >= kLengthBytes + kMostFrameBytes);
}

// The length that the next frame says it has; nothing can be said before its four bytes are here: 0.
u32 FrameStream::next_length() const {
  u32 length = 0;
  if (received().size() < kLengthBytes) return 0;
  std::memcpy(&length, received().data(), kLengthBytes);
  return ntohl(length);
}

bool FrameStream::has_frame() const {
  const u32 length = next_length();
  return length > kMostFrameBytes || (length > 0 && received().size() - kLengthBytes >= length);
}

i32 FrameStream::receive(std::span<const iovec> buffers, std::span<const u8> header) {
  for (;;) {
    while (received().size() >= kLengthBytes && next_length() == 0) start_ += kLengthBytes;  // an empty frame
    if (has_frame()) break;
    if (const i32 filled = fill(); filled < 0) return filled;
  }
  const u32 length = next_length();
  if (length > kMostFrameBytes) return -EPROTO;
  const u32 copied =
      scatter(buffers, 0, header) + scatter(buffers, header.size(), received().subspan(kLengthBytes, length));
  start_ += kLengthBytes + length;
  return static_cast<i32>(copied);
}

i32 FrameStream::fill() {
  std::memmove(buffer_.get(), buffer_.get() + start_, end_ - start_);
  end_ -= std::exchange(start_, 0);
  const ssize_t got = ::recv(socket_.get(), buffer_.get() + end_, kBufferBytes - end_, MSG_DONTWAIT);
  if (got == 0) return -EPIPE;
  if (got < 0) return -errno;
  end_ += static_cast<u32>(got);
  return 0;
}

i32 FrameStream::send(std::span<const iovec> parts, u64 skipped) {
  if (backlog()) return -EAGAIN;
  Gathered frame;
  if (!frame.add(parts, skipped)) return -EMSGSIZE;
  const ssize_t sent = frame.send(socket_.get());
  if (sent < 0) return -errno;
  frame.keep_rest(static_cast<u64>(sent), backlog_);
  return 0;
}

i32 FrameStream::flush() {
  while (backlog()) {
    const ssize_t sent = ::send(socket_.get(), backlog_.data(), backlog_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return -errno;
    backlog_.erase(backlog_.begin(), backlog_.begin() + sent);
  }
  return 0;
}

}  // namespace uvmm
