// SPDX-License-Identifier: Apache-2.0
// VsockDeadlines: timeouts in whole seconds of any number of connections, with one timer. I/O thread only;
// the timer runs only while a deadline is set.
#pragma once

#include "vmm/base/io.h"
#include "vmm/base/task.h"

namespace uvmm {

class VsockDeadlines {
 public:
  // What has a deadline, one at a time.
  class Entry {
   public:
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   protected:
    Entry() = default;
    ~Entry() = default;

   private:
    friend VsockDeadlines;
    virtual void timed_out() = 0;  // may set or clear its own deadline
    u64 due_ = 0;                  // in ticks; 0: none
    Entry* previous_ = nullptr;
    Entry* next_ = nullptr;
  };

  VsockDeadlines(Io& io, TaskScope& tasks) : io_(io), tasks_(tasks) {}

  // In `seconds`, or up to one later.
  void set(Entry& entry, u32 seconds);
  void clear(Entry& entry);

 private:
  Task<> tick();

  Io& io_;
  TaskScope& tasks_;
  u64 now_ = 0;
  Entry* first_ = nullptr;
  bool ticking_ = false;
};

}  // namespace uvmm
