// SPDX-License-Identifier: Apache-2.0
#include "vmm/embedded_disk.h"

#include <sys/eventfd.h>

#include <cassert>
#include <cerrno>
#include <utility>

#include "vmm/base/event_fd.h"

namespace uvmm {
namespace {

DiskRequest::Kind kind_of(Op::Kind kind) {
  switch (kind) {
    case Op::Kind::kReadv:
      return DiskRequest::Kind::kRead;
    case Op::Kind::kWritev:
      return DiskRequest::Kind::kWrite;
    default:
      return DiskRequest::Kind::kFlush;
  }
}

// As an operation ends. Some give errno values as negative numbers; and what is none is a failure, too.
i32 result_of(const Op& op, int error) {
  constexpr int kMostErrno = 4095;
  if (error == 0) return static_cast<i32>(op.length);
  if (error > kMostErrno || error < -kMostErrno) return -EIO;
  return error < 0 ? error : -error;
}

}  // namespace

Result<std::unique_ptr<EmbeddedDisk>> EmbeddedDisk::create(Io& inner, const DiskConfig& config) {
  UVMM_CHECK(size_of(*config.disk, config.path));
  Fd wake_fd = UVMM_TRY(create_eventfd());
  return std::unique_ptr<EmbeddedDisk>(new EmbeddedDisk(inner, config, std::move(wake_fd)));
}

EmbeddedDisk::EmbeddedDisk(Io& inner, const DiskConfig& config, Fd wake_fd)
    : inner_(inner),
      disk_(*config.disk),
      name_(config.path),
      read_only_(config.read_only.value_or(false)),
      wakes_(inner),
      wake_fd_(std::move(wake_fd)) {
  wake_op_.owner = this;
  wake_op_.kind = Op::Kind::kPollMultishot;
  wake_op_.fd = wake_fd_.get();
  wake_op_.flags = POLLIN;
  wake_op_.on_complete = [](Op& op, i32, bool more) {
    EmbeddedDisk& self = *static_cast<WakeOp&>(op).owner;
    self.awaits_completions_ = more;
    self.finish_completed();
    if (!self.idle()) self.await_completions();
  };
}

Result<u64> EmbeddedDisk::size_of(const Disk& disk, const std::string& name) {
  const u64 bytes = disk.bytes();
  if (bytes != 0 && bytes % kSectorSize == 0) return bytes;
  return fail(ErrorKind::kBadData, "cannot use disk {}: its size, {} bytes, is not a multiple of {}", name,
              bytes, kSectorSize);
}

EmbeddedDisk::~EmbeddedDisk() {
  assert(idle());
}

DiskImage EmbeddedDisk::image() const {
  return DiskImage(Fd(), name_, read_only_, {.bytes = disk_.bytes(), .physical_block_size = kPageSize});
}

bool EmbeddedDisk::is_for_disk(const Op& op) {
  switch (op.kind) {
    case Op::Kind::kReadv:
    case Op::Kind::kWritev:
    case Op::Kind::kFdatasync:
    case Op::Kind::kFallocate:
      return true;
    default:
      return false;
  }
}

void EmbeddedDisk::submit(Op& op) {
  if (!is_for_disk(op)) return inner_.submit(op);
  await_completions();
  Request& request = new_request();
  ++requests_out_;
  request.op = &op;
  request.is_out = true;
  // A Disk knows no holes: the device then writes zeroes.
  if (op.kind == Op::Kind::kFallocate) return request.complete(EOPNOTSUPP);
  request.kind = kind_of(op.kind);
  request.offset = op.offset;
  request.buffers = {static_cast<const iovec*>(op.address), op.count};
  disk_.submit(request);
}

EmbeddedDisk::Request& EmbeddedDisk::new_request() {
  if (!first_free_) {
    requests_.push_back(std::make_unique<Request>());
    requests_.back()->owner = this;
    return *requests_.back();
  }
  return *std::exchange(first_free_, first_free_->next);
}

void EmbeddedDisk::await_completions() {
  if (std::exchange(awaits_completions_, true)) return;
  wakes_.submit(wake_op_);
}

// On any thread. The lock is held to the end, since whoever has taken the last completion may destroy this.
void EmbeddedDisk::completed(Request& request, int error) {
  const std::lock_guard lock(mutex_);
  assert(request.is_out && "a request is completed once");
  request.is_out = false;
  request.failure = error;
  request.next = nullptr;
  const bool is_first = first_completed_ == nullptr;
  *last_completed_ = &request;
  last_completed_ = &request.next;
  if (is_first) ::eventfd_write(wake_fd_.get(), 1);
}

void EmbeddedDisk::finish_completed() {
  Request* request;
  {
    const std::lock_guard lock(mutex_);
    request = std::exchange(first_completed_, nullptr);
    last_completed_ = &first_completed_;
  }
  while (request) {
    Op& op = *request->op;
    const i32 result = result_of(op, request->failure);
    Request* const next = request->next;
    request->buffers = {};
    request->next = std::exchange(first_free_, request);
    --requests_out_;
    op.complete(result);
    request = next;
  }
}

}  // namespace uvmm
