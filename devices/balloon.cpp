// SPDX-License-Identifier: Apache-2.0
#include "devices/balloon.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "devices/virtio/spec.h"
#include "vmm/base/result.h"

namespace uvmm {
namespace {

static_assert(sizeof(virtio_balloon_config) == 16);
static_assert(sizeof(virtio_balloon_stat) == 10);
static_assert(VIRTIO_BALLOON_S_NR <= 32);

// Of pages that the guest names one after another, so many at most before others run.
constexpr u32 kPagesPerTurn = 1024;
constexpr u64 kMostBytesAtOnce = 1_GiB;
constexpr u32 kMostStats = 256;  // of one buffer; each may come several times, the last one counts

u64 features_of(const BalloonOptions& options) {
  u64 features = feature(VIRTIO_BALLOON_F_STATS_VQ);
  if (options.deflate_on_oom) features |= feature(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
  if (options.free_page_reporting) features |= feature(VIRTIO_BALLOON_F_REPORTING);
  return features;
}

// The whole host pages within.
std::span<u8> whole_pages(std::span<u8> bytes) {
  const u64 start = reinterpret_cast<u64>(bytes.data());
  const u64 skip = align_up(start, kPageSize) - start;
  if (skip >= bytes.size()) return {};
  bytes = bytes.subspan(skip);
  return bytes.first(bytes.size() / kPageSize * kPageSize);
}

}  // namespace

Balloon::Balloon(Io& io, const GuestMemory& memory, const BalloonOptions& options, Log& log)
    : VirtioDevice(io),
      memory_(memory),
      log_(log),
      features_(features_of(options)),
      advice_(options.shared_memory ? MADV_REMOVE : MADV_DONTNEED) {
  for (const GuestMemory::Region& region : memory_.regions()) ram_bytes_ += region.bytes.size();
  set_target(options.bytes);
}

u16 Balloon::device_id() const {
  return VIRTIO_ID_BALLOON;
}

std::span<const u8> Balloon::config() const {
  return {reinterpret_cast<const u8*>(&config_), sizeof config_};
}

void Balloon::write_config(u32 offset, std::span<const u8> bytes) {
  // virtio 1.2, 5.5.4: `actual` is the driver's.
  constexpr u32 kActual = offsetof(virtio_balloon_config, actual);
  for (const u8 byte : bytes) {
    if (offset >= kActual && offset - kActual < sizeof config_.actual)
      std::memcpy(reinterpret_cast<u8*>(&config_) + offset, &byte, 1);
    ++offset;
  }
  actual_bytes_.store(std::min(u64{config_.actual} * kPageBytes, ram_bytes_), std::memory_order_relaxed);
}

void Balloon::reset() {
  config_.actual = 0;
  actual_bytes_.store(0, std::memory_order_relaxed);
  negotiated_ = 0;
  known_stats_.store(0, std::memory_order_relaxed);
  asked_for_stats_ = false;
}

void Balloon::set_target(u64 bytes) {
  config_.num_pages = static_cast<u32>(std::min(bytes, ram_bytes_) / kPageBytes);
  config_changed();
}

Task<> Balloon::run(Queue& queue, u16 index) {
  if (index == kInflateQueue) return inflate(queue);
  if (index == kDeflateQueue) return deflate(queue);
  if (index == kStatsQueue && has_feature(negotiated_, VIRTIO_BALLOON_F_STATS_VQ)) return take_stats(queue);
  return take_reports(queue);
}

std::optional<u64> Balloon::stat(u16 tag) const {
  if (tag >= stats_.size() || !(known_stats_.load(std::memory_order_acquire) >> tag & 1)) return std::nullopt;
  return stats_[tag].load(std::memory_order_relaxed);
}

void Balloon::ask_for_stats() {
  asked_for_stats_ = true;
  stats_wanted_.resume_all();
}

bool Balloon::Run::extend(u64 page) {
  if (pages == 0) first = page;
  if (page == first + pages) {
    ++pages;
    return true;
  }
  if (page + 1 != first) return false;
  first = page;
  ++pages;
  return true;
}

// virtio 1.2, 5.5.6: a request is an array of page numbers. What is no page of RAM is of no consequence.
Task<> Balloon::inflate(Queue& queue) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
    Run run;
    for (u32 taken = 0; !queue.stopped(); ++taken) {
      const std::optional<le32> page = chain->readable.take<le32>();
      if (!page) break;
      if (taken % kPagesPerTurn == kPagesPerTurn - 1) co_await io_.yield();
      if (run.extend(*page)) continue;
      co_await give_back(run);
      run = {.first = *page, .pages = 1};
    }
    if (!queue.stopped()) co_await give_back(run);
  }
}

// The guest simply uses them again.
Task<> Balloon::deflate(Queue& queue) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
  }
}

// virtio 1.2, 5.5.6.3: a buffer of statistics stays with the device until it wants others.
Task<> Balloon::take_stats(Queue& queue) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
    for (u32 taken = 0; taken < kMostStats; ++taken) {
      const std::optional<virtio_balloon_stat> stat = chain->readable.take<virtio_balloon_stat>();
      if (!stat) break;
      if (stat->tag >= stats_.size()) continue;
      stats_[stat->tag].store(stat->val, std::memory_order_relaxed);
      known_stats_.fetch_or(1u << stat->tag, std::memory_order_release);
    }
    while (!asked_for_stats_ && !queue.stopped()) co_await stats_wanted_.wait();
    asked_for_stats_ = false;
  }
}

// virtio 1.2, 5.5.6.7: the buffers of a request are the free pages themselves, which stay free until it is
// used.
Task<> Balloon::take_reports(Queue& queue) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
    if (chain->writable.has_hole()) continue;
    while (!chain->writable.empty() && !queue.stopped()) {
      const iovec& buffer = chain->writable.iovecs().front();
      const std::span<u8> bytes(static_cast<u8*>(buffer.iov_base),
                                std::min<u64>(buffer.iov_len, kMostBytesAtOnce));
      co_await give_back(bytes);
      chain->writable.drop_front(bytes.size());
    }
  }
}

Task<> Balloon::give_back(Run run) {
  u64 at = run.first * kPageBytes;
  const u64 end = at + run.pages * kPageBytes;
  while (at < end) {
    const std::span<u8> bytes = memory_.prefix(guest(at), std::min(end - at, kMostBytesAtOnce));
    if (bytes.empty()) co_return;
    co_await give_back(bytes);
    at += bytes.size();
  }
}

Task<> Balloon::give_back(std::span<u8> bytes) {
  const std::span<u8> pages = whole_pages(bytes);
  if (pages.empty()) co_return;
  const i32 done = co_await io_.madvise(pages, advice_);
  if (done < 0 && done != -ECANCELED && !std::exchange(has_complained_, true))
    log_.warning("balloon: cannot give memory back to the host: {}", error_text(-done));
}

}  // namespace uvmm
