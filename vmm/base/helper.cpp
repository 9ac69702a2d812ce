// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/helper.h"

#include <sys/eventfd.h>

namespace uvmm {

Helper::~Helper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Task<i32> Helper::run(Io& io, Job& job) {
  const Fd signal(::eventfd(0, EFD_CLOEXEC));
  job.signal_ = signal.get();
  // Without a thread or a way to hear of its end it is done here.
  if (!signal || !enqueue(job)) co_return job.call();
  const int fd = signal.get();
  const i32 ready = co_await io.poll(fd, POLLIN);
  std::unique_lock lock(mutex_);
  if (ready < 0) changed_.wait(lock, [&job] { return job.done_; });
  co_return job.result_;
}

bool Helper::enqueue(Job& job) {
  if (!thread_.started() && thread_.start<&Helper::work>(*this) != 0) return false;
  {
    const std::lock_guard lock(mutex_);
    *last_ = &job;
    last_ = &job.next_;
  }
  changed_.notify_all();
  return true;
}

void Helper::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || first_; });
    if (!first_) return;
    Job& job = *first_;
    first_ = job.next_;
    if (!first_) last_ = &first_;
    lock.unlock();
    const i32 result = job.call();
    lock.lock();
    job.result_ = result;
    job.done_ = true;
    // Under the lock, since the job and its eventfd may be gone once this is heard.
    ::eventfd_write(job.signal_, 1);
    changed_.notify_all();
  }
}

}  // namespace uvmm
