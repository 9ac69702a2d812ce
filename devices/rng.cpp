// SPDX-License-Identifier: Apache-2.0
#include "devices/rng.h"

#include <sys/random.h>

#include <algorithm>

#include "devices/virtio/spec.h"

namespace uvmm {
namespace {

constexpr u64 kPause = 10'000'000;  // nanoseconds; while the host has just booted and has no entropy itself

}  // namespace

Rng::Rng(Io& io) : Rng(io, ::getrandom) {}

u16 Rng::device_id() const {
  return VIRTIO_ID_RNG;
}

Task<> Rng::run(Queue& queue, u16) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
    // virtio 1.2, 5.4.6.1: only device-writable buffers. Nothing is put into any other.
    if (chain->writable.has_hole()) continue;
    DescriptorChain& request = *chain;
    co_await fill(queue, request);
  }
}

Task<> Rng::fill(Queue& queue, DescriptorChain& chain) {
  chain.writable.truncate(kMaxRequestBytes);
  while (!chain.writable.empty() && !queue.stopped()) {
    if (left_in_turn_ == 0) {
      left_in_turn_ = kBytesPerTurn;
      co_await io_.yield();
      continue;
    }
    const iovec& buffer = chain.writable.iovecs().front();
    const ssize_t got = source_(buffer.iov_base, std::min<u64>(buffer.iov_len, left_in_turn_), GRND_NONBLOCK);
    if (got > 0) {
      const auto bytes = static_cast<u64>(got);
      chain.writable.drop_front(bytes);
      chain.written += static_cast<u32>(bytes);
      left_in_turn_ -= bytes;
    } else {
      co_await io_.sleep(kPause);
    }
  }
}

}  // namespace uvmm
