// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_deadlines.h"

#include <cerrno>
#include <utility>

namespace uvmm {

void VsockDeadlines::set(Entry& entry, u32 seconds) {
  if (entry.due_ == 0) {
    entry.previous_ = nullptr;
    entry.next_ = first_;
    if (first_) first_->previous_ = &entry;
    first_ = &entry;
  }
  entry.due_ = now_ + seconds + 1;
  if (!std::exchange(ticking_, true)) tasks_.spawn(tick());
}

void VsockDeadlines::clear(Entry& entry) {
  if (entry.due_ == 0) return;
  entry.due_ = 0;
  (entry.previous_ ? entry.previous_->next_ : first_) = entry.next_;
  if (entry.next_) entry.next_->previous_ = entry.previous_;
}

Task<> VsockDeadlines::tick() {
  constexpr u64 kSecond = 1'000'000'000;
  while (first_) {
    const i32 slept = co_await io_.sleep(kSecond);
    if (slept != -ETIME) break;  // a reset
    ++now_;
    for (Entry* entry = first_; entry;) {
      Entry& this_one = *std::exchange(entry, entry->next_);
      if (this_one.due_ > now_) continue;
      clear(this_one);
      this_one.timed_out();
    }
  }
  ticking_ = false;
}

}  // namespace uvmm
