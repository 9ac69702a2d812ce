// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace uvmm {
namespace {

std::vector<iovec> buffers_of(const Op& op) {
  if (op.kind == Op::Kind::kRead || op.kind == Op::Kind::kWrite || op.kind == Op::Kind::kSend)
    return {{const_cast<void*>(op.address), op.count}};
  if (op.kind == Op::Kind::kSendmsg || op.kind == Op::Kind::kRecvmsg) {
    const auto& message = *static_cast<const msghdr*>(op.address);
    return {message.msg_iov, message.msg_iov + message.msg_iovlen};
  }
  if (op.kind != Op::Kind::kReadv && op.kind != Op::Kind::kWritev)
    throw std::logic_error("an operation without buffers");
  const auto* const first = static_cast<const iovec*>(op.address);
  return {first, first + op.count};
}

}  // namespace

void FakeIo::submit(Op& op) {
  if (std::ranges::count(in_flight_, &op)) throw std::logic_error("submitted while in flight");
  in_flight_.push_back(&op);
  ++submitted;
}

void FakeIo::cancel(Op& op) {
  if (!std::ranges::count(in_flight_, &op)) throw std::logic_error("cancelled, but not in flight");
  if (!std::ranges::count(cancelled, &op)) cancelled.push_back(&op);
}

const Op& FakeIo::pending(u32 i) const {
  return *in_flight_.at(i);
}

u32 FakeIo::find(Op::Kind kind) const {
  const auto is_it = [kind](const Op* op) { return op->kind == kind; };
  return static_cast<u32>(std::ranges::find_if(in_flight_, is_it) - in_flight_.begin());
}

void FakeIo::complete(u32 i, i32 result) {
  Op* const op = in_flight_.at(i);
  in_flight_.erase(in_flight_.begin() + i);
  std::erase(cancelled, op);
  op->complete(result);
}

void FakeIo::end_turn() {
  do turn_ends_.run();
  while (before_sleep_.look_last());
}

void FakeIo::finish(u32 i, i32 result) {
  complete(i, result);
  end_turn();
}

void FakeIo::fill(u32 i, std::span<const u8> bytes) {
  if (bytes.size() > length_of(i)) throw std::logic_error("more bytes than asked for");
  for (const iovec& buffer : buffers_of(pending(i))) {
    const u64 step = std::min(bytes.size(), buffer.iov_len);
    if (step > 0) std::memcpy(buffer.iov_base, bytes.data(), step);
    bytes = bytes.subspan(step);
  }
}

void FakeIo::finish_read(u32 i, std::span<const u8> bytes) {
  fill(i, bytes);
  finish(i, static_cast<i32>(bytes.size()));
}

i32 FakeIo::readv_now(int, std::span<const iovec> buffers) {
  room_now = 0;
  for (const iovec& buffer : buffers) room_now += buffer.iov_len;
  if (found_now.empty()) return -EAGAIN;
  const Found found = std::move(found_now.front());
  found_now.pop_front();
  if (found.error != 0) return found.error;
  std::span<const u8> rest = found.bytes;
  for (const iovec& buffer : buffers) {
    const u64 step = std::min(rest.size(), buffer.iov_len);
    if (step > 0) std::memcpy(buffer.iov_base, rest.data(), step);
    rest = rest.subspan(step);
  }
  return static_cast<i32>(found.bytes.size() - rest.size());  // a packet is cut off
}

i32 FakeIo::writev_now(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) {
  if (!writes_now) return -EAGAIN;
  const ssize_t done =
      ::pwritev2(fd, buffers.data(), int(buffers.size()), static_cast<off_t>(offset), int(rwf_flags));
  return static_cast<i32>(done < 0 ? -errno : done);
}

void FakeIo::finish_all(i32 result) {
  const std::vector<Op*> now = in_flight_;
  for (Op* const op : now) {
    const auto at = std::ranges::find(in_flight_, op);
    if (at == in_flight_.end() || op->kind == Op::Kind::kPollMultishot) continue;
    complete(static_cast<u32>(at - in_flight_.begin()), result);
  }
  end_turn();
}

void FakeIo::perform(u32 i) {
  const Op& op = pending(i);
  const auto* const buffers = static_cast<const iovec*>(op.address);
  const auto offset = static_cast<off_t>(op.offset);
  ssize_t done = 0;
  switch (op.kind) {
    case Op::Kind::kReadv:
      done = ::preadv2(op.fd, buffers, int(op.count), offset, int(op.flags));
      break;
    case Op::Kind::kWritev:
      done = ::pwritev2(op.fd, buffers, int(op.count), offset, int(op.flags));
      break;
    case Op::Kind::kFsync:
      done = ::fsync(op.fd);
      break;
    case Op::Kind::kFdatasync:
      done = ::fdatasync(op.fd);
      break;
    case Op::Kind::kFallocate:
      done = ::fallocate(op.fd, int(op.flags), offset, static_cast<off_t>(op.length));
      break;
    case Op::Kind::kMadvise:
      done = ::madvise(const_cast<void*>(op.address), op.length, int(op.flags));
      break;
    case Op::Kind::kPoll: {
      pollfd ready{.fd = op.fd, .events = static_cast<short>(op.flags)};
      done = ::poll(&ready, 1, -1) < 0 ? -1 : ready.revents;
      break;
    }
    case Op::Kind::kTimeout:
      return finish(i, -ETIME);
    case Op::Kind::kNop:
      break;
    default:
      throw std::logic_error("an operation that is not performed");
  }
  finish(i, done < 0 ? -errno : static_cast<i32>(done));
}

void FakeIo::fire(u32 i, i32 result) {
  in_flight_.at(i)->complete(result, true);
  end_turn();
}

void FakeIo::finish_cancelled() {
  const std::vector<Op*> now = cancelled;
  for (Op* const op : now) {
    const auto at = std::ranges::find(in_flight_, op);
    complete(static_cast<u32>(at - in_flight_.begin()), -ECANCELED);
  }
  end_turn();
}

std::vector<u8> FakeIo::bytes_of(u32 i) const {
  std::vector<u8> bytes;
  for (const iovec& buffer : buffers_of(pending(i))) {
    const auto* const first = static_cast<const u8*>(buffer.iov_base);
    bytes.insert(bytes.end(), first, first + buffer.iov_len);
  }
  return bytes;
}

u64 FakeIo::length_of(u32 i) const {
  u64 bytes = 0;
  for (const iovec& buffer : buffers_of(pending(i))) bytes += buffer.iov_len;
  return bytes;
}

}  // namespace uvmm
