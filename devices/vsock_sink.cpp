// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_sink.h"

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace uvmm {
namespace {

constexpr u64 kPause = 10'000'000;  // nanoseconds; after something that may pass
constexpr u64 kCopyBytes = 4_KiB;

bool may_pass(i32 error) {
  return error == -ENOMEM || error == -ENOBUFS;
}

}  // namespace

void VsockSink::open(int fd) {
  fd_ = fd;
  flush();
}

ByteRing& VsockSink::ring() {
  if (!ring_) ring_ = std::make_unique<ByteRing>(VsockCredit::kWindow);
  return *ring_;
}

void VsockSink::push(DescriptorChain&& chain) {
  if (abandoned_ || chain.readable.empty()) return;
  held_.emplace_back(std::move(chain));
  if (kept() > 0) keep_held();  // behind what waits already
}

bool VsockSink::push_record(Segments& data, bool last) {
  if (abandoned_) return true;
  if (records_.size() == kMostRecords) return false;
  std::array<u8, kCopyBytes> copy;
  while (!data.empty()) {
    const std::span<u8> part = std::span(copy).first(std::min(data.size(), copy.size()));
    data.copy_out(part);
    partial_record_ += static_cast<u32>(ring().push(part));
  }
  if (last) records_.push_back(std::exchange(partial_record_, 0));
  return true;
}

void VsockSink::flush() {
  if (writing_ || fd_ < 0 || abandoned_) return;
  if (held_.empty() && records_.empty() && kept() == partial_record_) return;
  writing_ = true;
  tasks_.spawn(write());
}

void VsockSink::abandon() {
  abandoned_ = true;
  if (!writing_) drop_all();
}

Task<> VsockSink::write() {
  std::array<iovec, kMostPieces> pieces;
  msghdr message{};
  while (!abandoned_ && (!held_.empty() || !records_.empty() || kept() > partial_record_)) {
    const bool is_record = !records_.empty();
    const u64 bytes = gather(pieces, message);
    i32 done = co_await io_.sendmsg(fd_, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (abandoned_) break;
    if (is_record && done >= 0 && static_cast<u64>(done) != bytes) done = -EMSGSIZE;  // it was cut
    if (done >= 0) sent(static_cast<u64>(done));
    if (done >= 0 && static_cast<u64>(done) == bytes) continue;

    if (done >= 0 || done == -EAGAIN || done == -EINTR) {
      keep_held();
      done = co_await io_.poll(fd_, POLLOUT);
    } else if (may_pass(done)) {
      keep_held();
      done = co_await io_.sleep(kPause);
      if (done == -ETIME) continue;
    }
    if (done >= 0 || abandoned_) continue;
    drop_all();
    owner_.sink_failed(done);
  }
  if (abandoned_) drop_all();
  writing_ = false;
  if (!abandoned_ && empty()) owner_.sink_idle();
}

// What the next system call sends; how many bytes.
u64 VsockSink::gather(Pieces pieces, msghdr& message) const {
  u64 count = 0;
  u64 bytes = 0;
  const auto add = [&](const void* address, u64 length) {
    pieces[count++] = {const_cast<void*>(address), length};
    bytes += length;
  };
  for (u64 i = first_held_; i < held_.size(); ++i) {
    for (const iovec& piece : held_[i]->readable.iovecs()) {
      if (count == kMostPieces) break;
      add(piece.iov_base, piece.iov_len);
    }
  }
  if (held_.empty() && ring_) {
    u64 most = records_.empty() ? ring_->size() - partial_record_ : records_.front();
    for (const std::span<const u8> part : {ring_->front(), ring_->back()}) {
      const u64 length = std::min<u64>(part.size(), most);
      if (length > 0) add(part.data(), length);
      most -= length;
    }
  }
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  return bytes;
}

void VsockSink::sent(u64 bytes) {
  const u32 forwarded = static_cast<u32>(bytes);
  if (!held_.empty()) {
    while (first_held_ < held_.size()) {
      Segments& data = held_[first_held_]->readable;
      const u64 part = std::min(bytes, data.size());
      data.drop_front(part);
      bytes -= part;
      if (!data.empty()) break;
      held_[first_held_++].reset();
    }
    if (first_held_ == held_.size()) {
      held_.clear();
      first_held_ = 0;
    }
  } else {
    if (ring_) ring_->drop_front(bytes);
    if (!records_.empty()) records_.pop_front();  // a socket takes a record whole
  }
  owner_.forwarded(forwarded);
}

// Copies what is left in the guest's buffers, and gives them back. There is room: credit saw to it.
void VsockSink::keep_held() {
  std::array<u8, kCopyBytes> copy;
  for (; first_held_ < held_.size(); ++first_held_) {
    Segments& data = held_[first_held_]->readable;
    while (!data.empty()) {
      const std::span<u8> part = std::span(copy).first(std::min(data.size(), copy.size()));
      data.copy_out(part);
      ring().push(part);
    }
    held_[first_held_].reset();
  }
  held_.clear();
  first_held_ = 0;
}

void VsockSink::drop_all() {
  held_.clear();
  first_held_ = 0;
  if (ring_) ring_->drop_front(ring_->size());
  records_.clear();
  partial_record_ = 0;
}

}  // namespace uvmm
