// SPDX-License-Identifier: Apache-2.0
// Helper: a thread for calls that may take long and that no operation of the ring stands for, so that the I/O
// thread serves others meanwhile. They run one after the other. The thread is there from the first call on.
//
// Used on one thread, the I/O thread; outlives what waits for it.
//   const i32 done = co_await helper.run(io, job);
#pragma once

#include <condition_variable>
#include <mutex>

#include "vmm/base/fd.h"
#include "vmm/base/io.h"
#include "vmm/base/task.h"
#include "vmm/base/thread.h"

namespace uvmm {

class Helper {
 public:
  // One call with its arguments; lives in the coroutine that waits for it.
  class Job {
   public:
    virtual i32 call() = 0;  // on the helper's thread; what the system call returns, or -errno

   protected:
    ~Job() = default;

   private:
    friend Helper;
    i32 result_ = 0;
    bool done_ = false;
    int signal_ = -1;  // an eventfd
    Job* next_ = nullptr;
  };

  Helper() = default;
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  ~Helper();

  // The job's result. It ends no sooner because `io` is cancelled: this thread then waits for it.
  Task<i32> run(Io& io, Job& job);

 private:
  bool enqueue(Job& job);
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  Job* first_ = nullptr;
  Job** last_ = &first_;
  bool stopping_ = false;
  Thread thread_;
};

}  // namespace uvmm
