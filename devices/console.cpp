// SPDX-License-Identifier: Apache-2.0
#include "devices/console.h"

#include <algorithm>

#include "devices/virtio/spec.h"

namespace uvmm {

static_assert(sizeof(virtio_console_config) == 12);

Console::Console(Io& io, ConsoleEnd& end, Log& log) : VirtioDevice(io), end_(end), log_(log) {
  config_.max_nr_ports = 1;
  end_.set_reader(this);
}

u16 Console::device_id() const {
  return VIRTIO_ID_CONSOLE;
}

u64 Console::features() const {
  return feature(VIRTIO_CONSOLE_F_SIZE) | feature(VIRTIO_CONSOLE_F_EMERG_WRITE);
}

std::span<const u8> Console::config() const {
  return {reinterpret_cast<const u8*>(&config_), sizeof config_};
}

void Console::write_config(u32 offset, std::span<const u8> bytes) {
  // virtio 1.2, 5.3.4: a character to be printed at once, even before there is a queue.
  if (offset == offsetof(virtio_console_config, emerg_wr) && !bytes.empty()) output(bytes.first(1));
}

void Console::resize(u16 columns, u16 rows) {
  config_.cols = columns;
  config_.rows = rows;
  config_changed();
}

Task<> Console::run(Queue& queue, u16 index) {
  return index == kReceiveQueue ? receive(queue) : transmit(queue);
}

Task<> Console::receive(Queue& queue) {
  // Linux takes the size from a change of it only, so a driver that starts is told of what has been set
  // before.
  if (config_.cols != 0) config_changed();
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    if (chain->writable.empty() || chain->writable.has_hole()) {
      log_.guest("console: a buffer for input that cannot be written to");
      continue;
    }
    buffers_.push(std::move(*chain));
    end_.reader_ready();
  }
  buffers_.clear();
}

u64 Console::take_input(std::span<const u8> bytes) {
  u64 taken = 0;
  while (!buffers_.empty() && taken < bytes.size()) {
    DescriptorChain& buffer = buffers_.front();
    const u64 part = std::min(bytes.size() - taken, buffer.writable.size());
    buffer.writable.copy_in(bytes.subspan(taken, part));
    buffer.written = static_cast<u32>(part);
    buffers_.pop();
    taken += part;
  }
  return taken;
}

Task<> Console::transmit(Queue& queue) {
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
    if (!chain->writable.empty()) {
      log_.guest("console: a buffer for output that is to be written to");
      queue.mark_broken();
    } else if (!chain->readable.has_hole()) {
      Segments& data = chain->readable;
      co_await take_output(queue, data);
    }
  }
}

Task<> Console::take_output(Queue& queue, Segments& data) {
  // More than the host end can hold is not even looked at: the guest decides how long a request is.
  if (data.size() > ConsoleEnd::kOutputBytes) {
    end_.drop(data.size() - ConsoleEnd::kOutputBytes);
    data.truncate(ConsoleEnd::kOutputBytes);
  }
  std::array<u8, 1024> copy;
  while (!data.empty()) {
    if (left_in_turn_ == 0) {
      left_in_turn_ = kBytesPerTurn;
      // At the end the rest goes out at once: it may be the last words.
      if (!queue.stopped()) co_await io_.yield();
    }
    const std::span<u8> part = std::span(copy).first(std::min({data.size(), copy.size(), left_in_turn_}));
    data.copy_out(part);
    output(part);
    left_in_turn_ -= part.size();
  }
}

void Console::output(std::span<const u8> bytes) {
  panic_watch_.see(bytes);
  end_.write(bytes);
}

}  // namespace uvmm
