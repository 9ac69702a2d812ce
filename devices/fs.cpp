// SPDX-License-Identifier: Apache-2.0
#include "devices/fs.h"

#include <algorithm>
#include <utility>

#include "devices/virtio/spec.h"

namespace uvmm {

using fuse::Operation;

static_assert(sizeof(virtio_fs_config) == 40);

Fs::Fs(Io& io, fuse::Share share, u16 request_queues, const fuse::Limits& limits, Log& log)
    : VirtioDevice(io), log_(log), server_(io_, std::move(share), limits, log) {
  request_queues = std::max<u16>(request_queues, 1);
  queue_sizes_.assign(request_queues + 1u, kQueueSize);
  queue_sizes_[kHighPriorityQueue] = kHighPriorityQueueSize;
  const std::string& tag = server_.share.options.tag;
  std::memcpy(config_.tag, tag.data(), std::min(tag.size(), kMostTagBytes));
  config_.num_request_queues = request_queues;
}

u16 Fs::device_id() const {
  return VIRTIO_ID_FS;
}

std::span<const u8> Fs::config() const {
  return {reinterpret_cast<const u8*>(&config_), sizeof config_};
}

// The queues differ in what the driver sends by them, not in how it is served.
Task<> Fs::run(Queue& queue, u16 index) {
  TaskScope requests;
  if (index == kHighPriorityQueue) silent_queue_ = &queue;
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    requests.spawn(serve(queue, std::move(*chain)));
    if (&queue == silent_queue_) gather(queue, requests);
  }
  if (&queue == silent_queue_) silent_queue_ = nullptr;
  co_await requests.drained();
}

// What the guest forgets comes one by one, and it waits for nothing: each costs it no doorbell and no
// interrupt of its own.
void Fs::gather(Queue& queue, TaskScope& tasks) {
  if (std::exchange(gathers_, true)) return;
  queue.delay_notifications(true);
  queue.delay_interrupts(true);
  tasks.spawn(end_gathering(queue));
}

Task<> Fs::end_gathering(Queue& queue) {
  co_await io_.sleep(kGatherTime);
  if (!queue.stopped()) queue.interrupt_now();
  queue.delay_notifications(false);
  queue.delay_interrupts(false);
  gathers_ = false;
}

Task<> Fs::serve(Queue& queue, DescriptorChain chain) {
  const u64 bytes = chain.readable.size();
  fuse_in_header header{};
  const bool has_header = chain.readable.copy_out({reinterpret_cast<u8*>(&header), sizeof header});
  const Operation* const known = has_header ? fuse::find_operation(header.opcode) : nullptr;
  if (known && known->has(Operation::kSilent)) {
    fuse::Reply none;
    if (!chain.readable.has_hole() && admit(header, bytes, 0) == 0)
      at_once(*known, header, chain.readable, none);
    co_return;
  }
  if (&queue == silent_queue_) {  // a driver that does wait
    silent_queue_ = nullptr;
    queue.delay_notifications(false);
    queue.delay_interrupts(false);
  }
  if (chain.writable.size() < sizeof(fuse_out_header)) {
    log_.guest("share {}: a request without room for an answer", server_.share.options.path);
    queue.mark_broken();
    co_return;
  }
  if (chain.readable.has_hole() || chain.writable.has_hole()) {
    const fuse_out_header failure{.len = sizeof failure, .error = -EIO, .unique = header.unique};
    const bool told = chain.writable.copy_in({reinterpret_cast<const u8*>(&failure), sizeof failure});
    chain.written = told ? sizeof failure : 0;
    co_return;
  }
  fuse::Reply reply(chain.writable);
  i32 outcome = has_header ? admit(header, bytes, reply.room()) : -EINVAL;
  if (outcome == 0 && known->at_once) {
    outcome = at_once(*known, header, chain.readable, reply);
  } else if (outcome == 0) {
    Segments& readable = chain.readable;
    const i32 done = co_await wait_for(*known, header, readable, reply);
    outcome = done;
  }
  chain.written = reply.finish(header.unique, outcome);
}

// 0 if the request may be performed, or why not. `bytes` are those that it has, `room` is for the answer.
i32 Fs::admit(const fuse_in_header& header, u64 bytes, u64 room) const {
  const Operation* const operation = fuse::find_operation(header.opcode);
  if (header.len != bytes) return -EINVAL;
  if (!operation) return -ENOSYS;
  if (!server_.session.established() && !operation->has(Operation::kFirst)) return -EINVAL;
  if (bytes - sizeof header < operation->takes || room < operation->answers) return -EINVAL;
  if (server_.share.options.read_only && operation->has(Operation::kMutates)) return -EROFS;
  return 0;
}

i32 Fs::at_once(const Operation& operation, const fuse_in_header& header, Segments& readable,
                fuse::Reply& reply) {
  if (readable.size() > fuse::Server::kMostArguments) return -E2BIG;
  const std::span<u8> copy(server_.arguments.get(), readable.size());
  readable.copy_out(copy);
  fuse::Node* const node = node_of(operation, header);
  if (!node && !operation.has(Operation::kNodeless)) return -ESTALE;
  fuse::Request request{header, node, fuse::Arguments(copy), readable, reply};
  return operation.at_once(server_, request);
}

Task<i32> Fs::wait_for(const Operation& operation, fuse_in_header header, Segments& readable,
                       fuse::Reply& reply) {
  std::array<u8, kMostWaitingArguments> storage;
  const std::span<u8> copy = std::span(storage).first(operation.takes);
  readable.copy_out(copy);
  fuse::Node* const node = node_of(operation, header);
  if (!node) co_return -ESTALE;
  fuse::Request request{header, node, fuse::Arguments(copy), readable, reply};
  fuse::Server& server = server_;
  const i32 done = co_await operation.waiting(server, request);
  co_return done;
}

fuse::Node* Fs::node_of(const Operation& operation, const fuse_in_header& header) {
  return operation.has(Operation::kNodeless) ? nullptr : server_.inodes.find(header.nodeid);
}

}  // namespace uvmm
