// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/uring.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>

#include "vmm/base/event_fd.h"

namespace uvmm {
namespace {

static_assert(sizeof(__kernel_timespec) == sizeof(Op::timespec));

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;

// How long to look for an answer rather than to sleep: about what the guest's kick and the wake-up cost. When
// none came, that many sleeps go without, and each time twice as many.
constexpr u64 kLookTime = 20'000;  // nanoseconds
constexpr u32 kMostSleepsWithout = 64;

constexpr unsigned kMostWorkers = 512;  // for two disks that answer nothing, and others

u64 now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<u64>(time.tv_sec) * kNanosecondsPerSecond + static_cast<u64>(time.tv_nsec);
}

// Whether this thread and a guest's can run at the same time.
bool has_several_processors() {
  cpu_set_t processors;
  // It fails where there are more than fit into the set.
  return ::sched_getaffinity(0, sizeof processors, &processors) < 0 || CPU_COUNT(&processors) > 1;
}

void prepare(io_uring_sqe* sqe, Op& op) {
  switch (op.kind) {
    case Op::Kind::kNop:
      io_uring_prep_nop(sqe);
      break;
    case Op::Kind::kReadv:
      io_uring_prep_readv2(sqe, op.fd, static_cast<const iovec*>(op.address), op.count, op.offset,
                           int(op.flags));
      break;
    case Op::Kind::kWritev:
      io_uring_prep_writev2(sqe, op.fd, static_cast<const iovec*>(op.address), op.count, op.offset,
                            int(op.flags));
      break;
    case Op::Kind::kRead:
      io_uring_prep_read(sqe, op.fd, const_cast<void*>(op.address), op.count, op.offset);
      break;
    case Op::Kind::kWrite:
      io_uring_prep_write(sqe, op.fd, op.address, op.count, op.offset);
      break;
    case Op::Kind::kSend:
      io_uring_prep_send(sqe, op.fd, op.address, op.count, int(op.flags));
      break;
    case Op::Kind::kSendmsg:
      io_uring_prep_sendmsg(sqe, op.fd, static_cast<const msghdr*>(op.address), op.flags);
      break;
    case Op::Kind::kRecvmsg:
      io_uring_prep_recvmsg(sqe, op.fd, static_cast<msghdr*>(const_cast<void*>(op.address)), op.flags);
      break;
    case Op::Kind::kFdatasync:
      io_uring_prep_fsync(sqe, op.fd, IORING_FSYNC_DATASYNC);
      break;
    case Op::Kind::kFsync:
      io_uring_prep_fsync(sqe, op.fd, 0);
      break;
    case Op::Kind::kFallocate:
      // Written out, because liburing 2.3 declares offset and length as off_t.
      io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, op.fd, nullptr, op.flags, op.offset);
      sqe->addr = op.length;
      break;
    case Op::Kind::kMadvise:
      io_uring_prep_madvise(sqe, const_cast<void*>(op.address), static_cast<off_t>(op.length), int(op.flags));
      break;
    case Op::Kind::kPoll:
      io_uring_prep_poll_add(sqe, op.fd, op.flags);
      break;
    case Op::Kind::kPollMultishot:
      io_uring_prep_poll_multishot(sqe, op.fd, op.flags);
      break;
    case Op::Kind::kAccept:
      io_uring_prep_accept(sqe, op.fd, nullptr, nullptr, int(op.flags));
      break;
    case Op::Kind::kConnect:
      io_uring_prep_connect(sqe, op.fd, static_cast<const sockaddr*>(op.address),
                            static_cast<socklen_t>(op.length));
      break;
    case Op::Kind::kTimeout:
      op.timespec = {static_cast<i64>(op.length / kNanosecondsPerSecond),
                     static_cast<i64>(op.length % kNanosecondsPerSecond)};
      io_uring_prep_timeout(sqe, reinterpret_cast<__kernel_timespec*>(op.timespec.data()), 0, 0);
      break;
  }
  io_uring_sqe_set_data(sqe, &op);
}

const char* hint_for(int error) {
  switch (error) {
    case -EPERM:
    case -ENOSYS:
      return "allow it with `sysctl kernel.io_uring_disabled=0`, and in the container's seccomp profile";
    case -EMFILE:
      return "raise the limit on open files (ulimit -n)";
    default:
      return "raise the limit on locked memory (ulimit -l)";
  }
}

}  // namespace

Result<std::unique_ptr<Uring>> Uring::create(u32 entries) {
  std::unique_ptr<Uring> uring(new Uring);
  UVMM_CHECK(uring->initialise(entries));
  return uring;
}

Result<void> Uring::initialise(u32 entries) {
  // The thread that enables the ring becomes its single issuer: that is the one that calls run(), not this
  // one. Tried rather than probed for, since a probe costs tens of milliseconds; kernels before 6.1 answer
  // EINVAL.
  int error = io_uring_queue_init(entries, &ring_,
                                  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                      IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED);
  if (error == -EINVAL) error = io_uring_queue_init(entries, &ring_, IORING_SETUP_R_DISABLED);
  if (error < 0) {
    return with_hint(fail(ErrorKind::kUnavailable, "cannot set up io_uring: {}", error_text(-error)),
                     hint_for(error));
  }
  ring_exists_ = true;

  wake_fd_ = UVMM_TRY(create_eventfd());
  return {};
}

Uring::~Uring() {
  close();  // what was posted and never ran goes, too
  assert(turn_ends_.empty());
  if (ring_exists_) io_uring_queue_exit(&ring_);
}

io_uring_sqe* Uring::next_sqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (!sqe) {       // the submission queue is full: hand it over and go on
    assert(enabled_);  // before run() no more may be submitted than the queue holds
    ++enters_;
    quiet_ = 0;
    io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

// Whether the kernel may not copy these bytes, too, within a system call of this thread, as it does from and
// to its page cache. Beyond a few milliseconds' worth in one turn a worker does it: a guest can ask for
// gigabytes at once, and meanwhile this thread serves no one else.
bool Uring::is_too_much_at_once(u64 bytes) {
  constexpr u64 kMostBytes = 4_MiB;
  bytes_in_turn_ += bytes;
  return bytes_in_turn_ > kMostBytes;
}

bool Uring::takes_too_long_at_once(const Op& op) {
  switch (op.kind) {
    case Op::Kind::kReadv:
    case Op::Kind::kWritev:
      // What goes to a stream stays in order, which workers would not keep; its owner bounds it.
      return op.offset != Op::kNoOffset && is_too_much_at_once(op.length);
    default:
      return false;  // the others' buffers are this process's own, and small
  }
}

void Uring::submit(Op& op) {
  io_uring_sqe* const sqe = next_sqe();
  prepare(sqe, op);
  if (takes_too_long_at_once(op)) io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
  ++in_flight_;
  quiet_ += op.quiet;
}

void Uring::cancel(Op& op) {
  io_uring_sqe* const sqe = next_sqe();
  io_uring_prep_cancel(sqe, &op, 0);
  io_uring_sqe_set_data(sqe, nullptr);  // nobody waits for the cancellation itself
  ++in_flight_;
}

// A system call of its own: what is there is there already, and the ring would only add to its cost.
i32 Uring::readv_now(int fd, std::span<const iovec> buffers) {
  ++enters_;
  const ssize_t done = ::readv(fd, buffers.data(), static_cast<int>(buffers.size()));
  return static_cast<i32>(done < 0 ? -errno : done);
}

// Most file systems take no buffered write that must not wait, so that each goes by way of a worker and two
// changes of threads, for what is a copy into the page cache. Should one wait after all, as for a disk that
// is behind, then others may follow only after so long that a small part of this thread's time is lost by it.
i32 Uring::writev_now(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) {
  constexpr u64 kLong = 5'000'000;  // nanoseconds
  constexpr u64 kPart = 64;
  const u64 start = now();
  if (start < no_writes_before_ || is_too_much_at_once(total_bytes(buffers))) return -EAGAIN;
  ++enters_;
  const ssize_t written = ::pwritev2(fd, buffers.data(), static_cast<int>(buffers.size()),
                                     static_cast<off_t>(offset), static_cast<int>(rwf_flags));
  const i32 done = static_cast<i32>(written < 0 ? -errno : written);
  const u64 end = now();
  if (end - start > kLong) no_writes_before_ = end + kPart * (end - start);
  return done;
}

void Uring::run() {
  if (!enabled_) {
    // Everything is enabled on the thread that will submit. It can only fail for a ring that is enabled
    // already. liburing 2.3 declares io_uring_enable_rings() and does not export it.
    ::syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    enabled_ = true;
    // What may wait for storage is done by the kernel's workers, four a processor by default: those that wait
    // for one slow disk would keep another one from being served.
    std::array<unsigned, 2> most_workers = {kMostWorkers, 0};  // 0: as it is
    io_uring_register_iowq_max_workers(&ring_, most_workers.data());
    looks_for_a_while_ = has_several_processors();
    wake_op_.uring = this;
    wake_op_.kind = Op::Kind::kPollMultishot;
    wake_op_.fd = wake_fd_.get();
    wake_op_.flags = POLLIN;
    wake_op_.on_complete = [](Op& op, i32 result, bool more) {
      Uring& self = *static_cast<WakeOp&>(op).uring;
      self.run_calls();
      if (!more && result != -ECANCELED) self.submit(op);
    };
    submit(wake_op_);
  }
  turn_ends_.run();
  turn_until([this] { return stopping_.load(std::memory_order_acquire); });
}

void Uring::drain() {
  if (!enabled_ || in_flight_ == 0) return;
  cancel(wake_op_);
  turn_until([this] { return in_flight_ == 0; });
}

void Uring::catch_up() {
  struct Marker : Op {
    bool passed = false;
  };
  // The kernel hands over a limited number of completions at a time, and the marker's may be among the first:
  // there is nothing more when it comes alone. The limit is for a device that never comes to rest.
  constexpr int kMostRounds = 100;
  for (int round = 0; round < kMostRounds; ++round) {
    Marker marker;
    marker.on_complete = [](Op& op, i32, bool) { static_cast<Marker&>(op).passed = true; };
    submit(marker);
    u32 taken = 0;
    sleeps_without_look_ = 1;  // but with the last one, which finds what the guest has not told yet
    while (!marker.passed) taken = turn();
    if (taken == 1) return;
  }
}

void Uring::enter(u32 wait_for) {
  ++enters_;
  quiet_ = 0;
  const int submitted =
      wait_for > 0 ? io_uring_submit_and_wait(&ring_, wait_for) : io_uring_submit_and_get_events(&ring_);
  // Anything else would come again and again: only the I/O thread may turn the ring.
  assert(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY ||
         submitted == -ENOMEM);
}

// Whether the kernel has completions that it gives only to who enters it.
bool Uring::kernel_has_more() const {
  return (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

// Whether an answer to what was done comes soon.
bool Uring::look_for_a_while() {
  if (!before_sleep_.eager()) return false;
  const u64 end = now() + kLookTime;
  do {
    if (before_sleep_.look() || io_uring_cq_ready(&ring_) > 0 || kernel_has_more()) {
      unanswered_ = 0;
      return true;
    }
  } while (now() < end);
  unanswered_ = std::clamp(2 * unanswered_, 1u, kMostSleepsWithout);
  sleeps_without_look_ = unanswered_;
  return false;
}

// Until something other than what is quiet has completed, or there is nothing else. Of the quiet only what is
// submitted here is slept over: what has been raised again since an earlier submission waits for that one's
// end.
void Uring::sleep_till_work() {
  enter(std::min(quiet_ + 1, std::max(in_flight_, 1u)));
}

// Submits what has gathered, and sleeps unless there is something to do.
void Uring::await_work() {
  if (!looks_for_a_while_) {
    // The guest answers only while this thread sleeps.
  } else if (sleeps_without_look_ == 0) {
    // What the page cache has is complete at once.
    if (io_uring_sq_ready(&ring_) > 0 || kernel_has_more()) enter(0);
    if (io_uring_cq_ready(&ring_) > 0 || look_for_a_while()) return;
  } else {
    --sleeps_without_look_;
  }
  if (!before_sleep_.look_last()) sleep_till_work();
}

u32 Uring::turn() {
  bytes_in_turn_ = 0;
  await_work();

  // Taken in batches, so that the kernel has its slots back before any coroutine runs. What completes
  // meanwhile is the next turn's.
  struct Completion {
    Op* op;
    i32 result;
    bool more;
  };
  std::array<Completion, 64> batch;
  const u32 ready = io_uring_cq_ready(&ring_);
  for (u32 left = ready; left > 0;) {
    const u32 size = std::min<u32>(left, batch.size());
    u32 taken = 0;
    unsigned head;
    io_uring_cqe* cqe;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      if (taken == size) break;
      batch[taken++] = {static_cast<Op*>(io_uring_cqe_get_data(cqe)), cqe->res,
                        (cqe->flags & IORING_CQE_F_MORE) != 0};
    }
    io_uring_cq_advance(&ring_, taken);
    left -= taken;
    for (u32 i = 0; i < taken; ++i) {
      if (!batch[i].more) --in_flight_;
      if (batch[i].op) batch[i].op->complete(batch[i].result, batch[i].more);
    }
  }
  turn_ends_.run();
  return ready;
}

void Uring::stop() {
  stopping_.store(true, std::memory_order_release);
  wake();
}

void Uring::wake() const {
  // Cannot fail: the counter would have to reach 2^64 - 1.
  ::eventfd_write(wake_fd_.get(), 1);
}

bool Uring::enqueue(Call& call) {
  {
    const std::lock_guard lock(calls_mutex_);
    if (closed_) return false;
    *last_call_ = &call;
    last_call_ = &call.next;
  }
  wake();
  return true;
}

struct Uring::Posted : Call {
  explicit Posted(std::move_only_function<void()> f)
      : Call{[](Call& call) { static_cast<Posted&>(call).function(); },
             [](Call& call, bool) { delete static_cast<Posted*>(&call); }},
        function(std::move(f)) {}
  std::move_only_function<void()> function;
};

void Uring::post(std::move_only_function<void()> function) {
  auto posted = std::make_unique<Posted>(std::move(function));
  if (enqueue(*posted)) posted.release();
}

void Uring::run_calls() {
  Call* call;
  {
    const std::lock_guard lock(calls_mutex_);
    call = first_call_;
    first_call_ = nullptr;
    last_call_ = &first_call_;
  }
  while (call) {
    Call* const next = call->next;  // the call is gone once it is finished
    call->run(*call);
    call->finish(*call, true);
    call = next;
  }
}

void Uring::close() {
  const std::lock_guard lock(calls_mutex_);
  closed_ = true;
  while (first_call_) {
    Call* const call = first_call_;
    first_call_ = call->next;
    call->finish(*call, false);
  }
  last_call_ = &first_call_;
}

}  // namespace uvmm
