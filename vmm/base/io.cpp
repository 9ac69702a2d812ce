// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/io.h"

#include <cassert>
#include <utility>

namespace uvmm {

void Op::complete(i32 result, bool more) {
  if (!more && group_) group_->unlink(*this);
  on_complete(*this, result, more);
}

template <typename Hook>
void HookList<Hook>::add(Hook& hook) {
  if (hook.queued) return;
  hook.queued = true;
  hook.next = nullptr;
  *last_ = &hook;
  last_ = &hook.next;
}

template <typename Hook>
void HookList<Hook>::remove(Hook& hook) {
  if (!hook.queued) return;
  hook.queued = false;
  Hook** link = &first_;
  while (*link != &hook) link = &(*link)->next;
  *link = hook.next;
  if (last_ == &hook.next) last_ = link;
}

template class HookList<TurnEnd>;
template class HookList<BeforeSleep>;

void TurnEndList::run() {
  while (first_) {
    TurnEnd& hook = *first_;
    remove(hook);
    hook.run(hook);
  }
}

bool BeforeSleepList::eager() const {
  for (const BeforeSleep* hook = first_; hook; hook = hook->next)
    if (hook->eager) return true;
  return false;
}

bool BeforeSleepList::look() {
  bool found = false;
  for (BeforeSleep* hook = first_; hook; hook = hook->next) found |= hook->look(*hook, false);
  return found;
}

bool BeforeSleepList::look_last() {
  bool found = false;
  // One round: who finds something is listed anew, and there is no sleep.
  BeforeSleep* hook = std::exchange(first_, nullptr);
  last_ = &first_;
  while (hook) {
    BeforeSleep* const next = hook->next;
    hook->queued = false;
    found |= hook->look(*hook, true);
    hook = next;
  }
  return found;
}

OpAwaiter::OpAwaiter(Io& door, Kind operation, const Fields& fields) : io(door) {
  kind = operation;
  fd = fields.fd;
  address = fields.address;
  count = static_cast<u32>(fields.count);
  flags = fields.flags;
  offset = fields.offset;
  length = fields.length;
}

u64 total_bytes(std::span<const iovec> buffers) {
  u64 bytes = 0;
  for (const iovec& buffer : buffers) bytes += buffer.iov_len;
  return bytes;
}

OpAwaiter Io::readv(int fd, std::span<const iovec> buffers, u64 offset) {
  return {*this,
          Op::Kind::kReadv,
          {.fd = fd,
           .address = buffers.data(),
           .count = buffers.size(),
           .offset = offset,
           .length = total_bytes(buffers)}};
}

OpAwaiter Io::writev(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) {
  return {*this,
          Op::Kind::kWritev,
          {.fd = fd,
           .address = buffers.data(),
           .count = buffers.size(),
           .flags = rwf_flags,
           .offset = offset,
           .length = total_bytes(buffers)}};
}

OpAwaiter Io::read(int fd, std::span<u8> buffer, u64 offset) {
  return {
      *this, Op::Kind::kRead, {.fd = fd, .address = buffer.data(), .count = buffer.size(), .offset = offset}};
}

OpAwaiter Io::write(int fd, std::span<const u8> buffer, u64 offset) {
  return {*this,
          Op::Kind::kWrite,
          {.fd = fd, .address = buffer.data(), .count = buffer.size(), .offset = offset}};
}

OpAwaiter Io::send(int fd, std::span<const u8> buffer, u32 msg_flags) {
  return {*this,
          Op::Kind::kSend,
          {.fd = fd, .address = buffer.data(), .count = buffer.size(), .flags = msg_flags}};
}

OpAwaiter Io::sendmsg(int fd, const msghdr& message, u32 msg_flags) {
  return {*this, Op::Kind::kSendmsg, {.fd = fd, .address = &message, .flags = msg_flags}};
}

OpAwaiter Io::recvmsg(int fd, msghdr& message, u32 msg_flags) {
  return {*this, Op::Kind::kRecvmsg, {.fd = fd, .address = &message, .flags = msg_flags}};
}

OpAwaiter Io::fdatasync(int fd) {
  return {*this, Op::Kind::kFdatasync, {.fd = fd}};
}

OpAwaiter Io::fsync(int fd) {
  return {*this, Op::Kind::kFsync, {.fd = fd}};
}

OpAwaiter Io::fallocate(int fd, u32 mode, u64 offset, u64 length) {
  return {*this, Op::Kind::kFallocate, {.fd = fd, .flags = mode, .offset = offset, .length = length}};
}

OpAwaiter Io::madvise(std::span<u8> memory, u32 advice) {
  return {*this, Op::Kind::kMadvise, {.address = memory.data(), .flags = advice, .length = memory.size()}};
}

OpAwaiter Io::poll(int fd, u32 events) {
  return {*this, Op::Kind::kPoll, {.fd = fd, .flags = events}};
}

OpAwaiter Io::accept(int fd, u32 flags) {
  return {*this, Op::Kind::kAccept, {.fd = fd, .flags = flags}};
}

OpAwaiter Io::connect(int fd, const sockaddr& name, u64 bytes) {
  return {*this, Op::Kind::kConnect, {.fd = fd, .address = &name, .length = bytes}};
}

OpAwaiter Io::sleep(u64 nanoseconds) {
  return {*this, Op::Kind::kTimeout, {.length = nanoseconds}};
}

OpAwaiter Io::yield() {
  return {*this, Op::Kind::kNop, {}};
}

OpGroup::~OpGroup() {
  assert(idle());
}

void OpGroup::submit(Op& op) {
  assert(op.group_ == nullptr);
  op.group_ = this;
  op.previous_ = nullptr;
  op.next_ = first_;
  if (first_) first_->previous_ = &op;
  first_ = &op;
  inner_.submit(op);
  if (cancelling_) inner_.cancel(op);
}

void OpGroup::cancel_all() {
  cancelling_ = true;
  for (Op* op = first_; op; op = op->next_) inner_.cancel(*op);
}

void OpGroup::unlink(Op& op) {
  (op.previous_ ? op.previous_->next_ : first_) = op.next_;
  if (op.next_) op.next_->previous_ = op.previous_;
  op.group_ = nullptr;
  op.previous_ = op.next_ = nullptr;
  if (!first_ && idle_hook_) inner_.at_turn_end(*idle_hook_);
}

}  // namespace uvmm
