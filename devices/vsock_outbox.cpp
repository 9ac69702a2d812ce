// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_outbox.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace uvmm {

VsockOutbox::VsockOutbox(u64 guest_cid, Log& log) : guest_cid_(guest_cid), log_(log), buffers_(kQueueSize) {
  for (Buffer& buffer : buffers_) unused_.push_back(buffer);
}

// --- the queue

Task<> VsockOutbox::run(Queue& queue) {
  queue_ = &queue;
  stopping_ = false;
  for (;;) {
    work();
    while (!work_left() && !stopping_) co_await starving_.wait();
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    if (Buffer* const buffer = keep(std::move(*chain))) taken_.push_back(*buffer);
  }
  queue_ = nullptr;
  resets_.clear();
  while (!taken_.empty()) return_buffer(taken_.pop_front());
}

void VsockOutbox::stop() {
  stopping_ = true;
  starving_.resume_all();
}

// A buffer of the guest, or none. A driver that offers nothing but useless ones is not followed for ever.
VsockOutbox::Buffer* VsockOutbox::take_buffer() {
  if (!taken_.empty()) return &taken_.pop_front();
  for (u32 tries = kQueueSize; queue_ && tries > 0; --tries) {
    std::optional<DescriptorChain> chain = queue_->try_next();
    if (!chain) break;
    if (Buffer* const buffer = keep(std::move(*chain))) return buffer;
  }
  return nullptr;
}

// Takes note of where the header will go; what is left of the chain is for data.
VsockOutbox::Buffer* VsockOutbox::keep(DescriptorChain&& chain) {
  if (chain.writable.has_hole() || chain.writable.size() <= sizeof(virtio_vsock_hdr)) {
    log_.guest("vsock: a buffer to receive into that holds no packet");
    return nullptr;
  }
  Buffer& buffer = unused_.pop_front();
  buffer.chain.emplace(std::move(chain));
  const std::span<const iovec> pieces = buffer.chain->writable.iovecs();
  u64 left = sizeof(virtio_vsock_hdr);
  u64 whole = 0;
  while (left >= pieces[whole].iov_len) left -= pieces[whole++].iov_len;
  buffer.header_pieces = pieces.first(whole);
  buffer.header_end = {pieces[whole].iov_base, left};
  buffer.chain->writable.drop_front(sizeof(virtio_vsock_hdr));
  return &buffer;
}

// Writes the header, with which the packet is complete but for its `bytes` of data.
void VsockOutbox::fill(Buffer& buffer, virtio_vsock_hdr& header, u32 bytes) {
  header.len = bytes;
  const u8* source = reinterpret_cast<const u8*>(&header);
  for (const iovec& piece : buffer.header_pieces) {
    std::memcpy(piece.iov_base, source, piece.iov_len);
    source += piece.iov_len;
  }
  if (buffer.header_end.iov_len > 0)
    std::memcpy(buffer.header_end.iov_base, source, buffer.header_end.iov_len);
  buffer.chain->written = static_cast<u32>(sizeof header) + bytes;
}

void VsockOutbox::return_buffer(Buffer& buffer) {
  buffer.chain.reset();
  unused_.push_front(buffer);
}

// --- what is said

virtio_vsock_hdr VsockOutbox::header_for(Sender& sender, u16 op) const {
  virtio_vsock_hdr header = vsock_header(guest_cid_, sender.tuple_, op);
  sender.credit_.tell(header);
  sender.due_ &= ~(1u << VIRTIO_VSOCK_OP_CREDIT_UPDATE);
  return header;
}

void VsockOutbox::say(Sender& sender, u16 op) {
  sender.due_ |= 1u << op;
  if (sender.waits_to_speak_) return;
  sender.waits_to_speak_ = true;
  speakers_.push_back(sender);
  work();
}

void VsockOutbox::reset(const VsockTuple& tuple) {
  if (resets_.size() == kMostResets) return log_.guest("vsock: the guest takes no resets; one is dropped");
  resets_.push_back(tuple);
  work();
}

bool VsockOutbox::work_left() const {
  return !resets_.empty() || !speakers_.empty() || !line_.empty();
}

// Does what can be done with the buffers that there are.
void VsockOutbox::work() {
  if (stopping_) return;
  say_resets();
  while (resets_.empty() && !speakers_.empty()) {
    Sender& sender = *speakers_.front();
    say_due(sender);
    if (sender.due_ != 0) break;
    speakers_.pop_front();
    sender.waits_to_speak_ = false;
  }
  while (resets_.empty() && speakers_.empty() && !line_.empty()) {
    Sender& sender = *line_.front();
    lend(sender);
    if (!sender.has_buffers()) break;
    line_.pop_front();
    sender.waits_for_buffers_ = false;
    sender.buffers_lent();
  }
  if (work_left()) starving_.resume_all();
}

void VsockOutbox::say_resets() {
  while (!resets_.empty()) {
    Buffer* const buffer = take_buffer();
    if (!buffer) return;
    virtio_vsock_hdr header = vsock_header(guest_cid_, resets_.front(), VIRTIO_VSOCK_OP_RST);
    resets_.pop_front();
    fill(*buffer, header, 0);
    return_buffer(*buffer);
  }
}

void VsockOutbox::say_due(Sender& sender) {
  static constexpr u16 kInOrder[] = {VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE,
                                     VIRTIO_VSOCK_OP_CREDIT_UPDATE, VIRTIO_VSOCK_OP_CREDIT_REQUEST,
                                     VIRTIO_VSOCK_OP_SHUTDOWN};
  for (const u16 op : kInOrder) {
    if (!(sender.due_ & 1u << op)) continue;
    Buffer* const buffer = take_buffer();
    if (!buffer) return;
    virtio_vsock_hdr header = header_for(sender, op);
    if (op == VIRTIO_VSOCK_OP_SHUTDOWN) header.flags = sender.shutdown_;
    sender.due_ &= ~(1u << op);
    fill(*buffer, header, 0);
    return_buffer(*buffer);
  }
}

// --- data

void VsockOutbox::ask_for_buffers(Sender& sender) {
  if (sender.waits_for_buffers_ || sender.has_buffers()) return;
  sender.waits_for_buffers_ = true;
  line_.push_back(sender);
  work();
}

void VsockOutbox::lend(Sender& sender) {
  u64 room = 0;
  do {
    Buffer* const buffer = take_buffer();
    if (!buffer) return;
    sender.lent_.push_back(*buffer);
    room += buffer->chain->writable.size();
  } while (sender.lent_.size() < kMostBuffers && room < sender.credit_.guest_room());
}

u32 VsockOutbox::gather(Sender& sender, std::span<iovec> pieces, u64 limit) const {
  u32 count = 0;
  for (const Buffer* buffer = sender.lent_.front(); buffer; buffer = buffer->next) {
    for (const iovec& piece : buffer->chain->writable.iovecs()) {
      if (limit == 0 || count == pieces.size()) return count;
      pieces[count] = {piece.iov_base, std::min<u64>(piece.iov_len, limit)};
      limit -= pieces[count++].iov_len;
    }
  }
  return count;
}

void VsockOutbox::send(Sender& sender, u64 bytes) {
  while (bytes > 0) {
    Buffer& buffer = sender.lent_.pop_front();
    const u32 part = static_cast<u32>(std::min(bytes, buffer.chain->writable.size()));
    virtio_vsock_hdr header = header_for(sender, VIRTIO_VSOCK_OP_RW);
    sender.credit_.sent(part);
    fill(buffer, header, part);
    return_buffer(buffer);
    bytes -= part;
  }
  take_back(sender);
}

u64 VsockOutbox::send_copy(Sender& sender, std::span<const u8> data, u32 last_flags) {
  u64 total = 0;
  do {
    Buffer& buffer = sender.lent_.pop_front();
    const u64 left = data.size() - total;
    const u32 part =
        static_cast<u32>(std::min<u64>({left, buffer.chain->writable.size(), sender.credit_.guest_room()}));
    virtio_vsock_hdr header = header_for(sender, VIRTIO_VSOCK_OP_RW);
    if (part == left) header.flags = last_flags;
    buffer.chain->writable.copy_in(data.subspan(total, part));
    sender.credit_.sent(part);
    fill(buffer, header, part);
    return_buffer(buffer);
    total += part;
  } while (total < data.size() && sender.has_buffers() && sender.credit_.guest_room() > 0);
  take_back(sender);
  return total;
}

void VsockOutbox::take_back(Sender& sender) {
  if (std::exchange(sender.waits_for_buffers_, false)) line_.erase(sender);
  if (!sender.has_buffers()) return;
  Buffers unused;
  while (!sender.lent_.empty()) unused.push_front(sender.lent_.pop_front());
  while (!unused.empty()) taken_.push_front(unused.pop_front());
  if (queue_) {
    work();
  } else {
    while (!taken_.empty()) return_buffer(taken_.pop_front());
  }
}

void VsockOutbox::forget(Sender& sender) {
  if (sender.waits_to_speak_) speakers_.erase(sender);
  if (sender.waits_for_buffers_) line_.erase(sender);
  sender.waits_to_speak_ = sender.waits_for_buffers_ = false;
  sender.due_ = 0;
}

}  // namespace uvmm
