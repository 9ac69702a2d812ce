// SPDX-License-Identifier: Apache-2.0
// A FUSE client over virtio-fs (virtio 1.2, 5.11) that says whatever it is told to. It sees to what must be
// true of every answer, however hostile the request was.
//
//   Answer answer = client.call(Message(FUSE_LOOKUP, FUSE_ROOT_ID).text("name"));
#pragma once

#include <errno.h>
#include <linux/virtio_ids.h>

#include "devices/fuse/wire.h"
#include "virtio.h"

namespace payload {

using namespace uvmm::fuse;

inline u32 length_of(const char* text) {
  u32 length = 0;
  while (text[length]) ++length;
  return length;
}

// A request in the making: a header, then what is added. Where it lies the device reads it.
class Message {
 public:
  Message(u32 opcode, u64 node) { header() = {.len = size_, .opcode = opcode, .nodeid = node, .pid = 1}; }

  fuse_in_header& header() { return *reinterpret_cast<fuse_in_header*>(bytes_); }
  u8* bytes() { return bytes_; }
  u32 size() const { return size_; }

  Message& add(const void* from, u32 count) {
    if (count > sizeof bytes_ - size_) fail("a request of too many bytes");
    memcpy(bytes_ + size_, from, count);
    size_ += count;
    header().len = size_ + more_bytes_;
    return *this;
  }
  template <typename T>
  Message& add(const T& value) {
    return add(&value, sizeof value);
  }
  Message& text(const char* text) { return add(text, length_of(text) + 1); }  // with its NUL
  // So many bytes of one value.
  Message& fill(u8 value, u32 count) {
    for (; count > 0; --count) add(value);
    return *this;
  }
  // What comes after all this, in a buffer of its own.
  Message& then(const void* from, u32 count) {
    more_ = from;
    more_bytes_ = count;
    header().len = size_ + count;
    return *this;
  }
  // Says that it has so many bytes, whatever it has.
  Message& claims(u32 bytes) {
    header().len = bytes;
    return *this;
  }
  Message& cut(u32 bytes) {
    size_ = bytes;
    return *this;
  }
  Message& by(u32 uid, u32 gid) {
    header().uid = uid;
    header().gid = gid;
    return *this;
  }

  const void* more() const { return more_; }
  u32 more_bytes() const { return more_bytes_; }

 private:
  alignas(8) u8 bytes_[512];
  u32 size_ = sizeof(fuse_in_header);
  const void* more_ = nullptr;
  u32 more_bytes_ = 0;
};

struct Answer {
  bool came = false;    // else the device said nothing to it,
  bool broken = false;  // or wants to be reset
  i32 error = 0;
  const u8* payload = nullptr;  // good until the next call
  u32 bytes = 0;

  template <typename T>
  const T& as(u32 offset = 0) const {
    if (!came || error != 0 || bytes < offset + sizeof(T))
      fail("an answer of ", bytes, " bytes and error ", u32(-error));
    return *reinterpret_cast<const T*>(payload + offset);
  }
};

class FuseClient {
 public:
  static constexpr u32 kMostRoom = 64_KiB;

  // The nth share in bus order.
  explicit FuseClient(u32 nth) : room_(static_cast<u8*>(allocate(kMostRoom + kGuard, 16))) {
    if (!device_.open(VIRTIO_ID_FS, nth)) fail("there is no share ", nth);
  }

  // As a driver that has just come, before FUSE_INIT.
  void start() {
    device_.restart();
    device_.negotiate(0);
    high_priority_ = device_.set_up_queue(0, kQueueSize);
    requests_ = device_.set_up_queue(1, kQueueSize);
    device_.driver_ok();
    late_ = {};
  }

  Answer initialise(u32 major = 7, u32 minor = 38) {
    return call(Message(FUSE_INIT, 0)
                    .add(fuse_init_in{.major = major,
                                      .minor = minor,
                                      .max_readahead = 128_KiB,
                                      .flags = ~u32{0},
                                      .flags2 = ~u32{0}}));
  }

  // One request to its end.
  Answer call(Message& message, u32 room = 4_KiB) { return call_by(requests_, message, room); }
  Answer call(Message&& message, u32 room = 4_KiB) { return call_by(requests_, message, room); }
  Answer call_urgently(Message& message) { return call_by(high_priority_, message, 4_KiB); }

  // What honest users do.
  u64 look_up(const char* name, u64 parent = FUSE_ROOT_ID) {
    return call(Message(FUSE_LOOKUP, parent).text(name)).as<fuse_entry_out>().nodeid;
  }
  u64 open(u64 node, u32 flags, u32 opcode = FUSE_OPEN) {
    return call(Message(opcode, node).add(fuse_open_in{.flags = flags})).as<fuse_open_out>().fh;
  }
  void release(u64 node, u64 handle, u32 opcode = FUSE_RELEASE) {
    const Answer answer = call(Message(opcode, node).add(fuse_release_in{.fh = handle}));
    if (!answer.came || answer.error != 0) fail("handle ", handle, " is not released");
  }

  // Two more, whose number is 0 or 1, may be in flight meanwhile.
  void begin(u32 number, Message& message) {
    Late& late = late_.entries[number];
    late = {.unique = message.header().unique = next_unique_++};
    const u16 head = u16(kFirstLate + 2 * number);
    requests_.descriptor(head) = {reinterpret_cast<u64>(message.bytes()), message.size(), VRING_DESC_F_NEXT,
                                  u16(head + 1)};
    requests_.descriptor(u16(head + 1)) = {reinterpret_cast<u64>(&late.header), sizeof late.header,
                                           VRING_DESC_F_WRITE, 0};
    requests_.offer(head);
    requests_.ring();
  }
  bool ended(u32 number) {
    vring_used_elem entry;
    while (requests_.take(entry)) note(entry);
    return late_.entries[number].ended;
  }
  i32 end_of(u32 number) {
    for (Watch watch; !ended(number);) watch.look();
    return late_.entries[number].header.error;
  }
  u64 unique_of(u32 number) const { return late_.entries[number].unique; }

 private:
  static constexpr u16 kQueueSize = 16, kFirstLate = 8;
  static constexpr u32 kGuard = 64;
  static constexpr u8 kUntouched = 0xee;

  struct Late {
    fuse_out_header header;
    u64 unique;
    bool ended;
  };

  // Gives up what takes longer than any machine is busy.
  class Watch {
   public:
    void look() const {
      if (__builtin_ia32_rdtsc() - start_ > kLongest) fail("no answer for a minute");
      asm volatile("pause");
    }

   private:
    static constexpr u64 kLongest = 200'000'000'000;
    u64 start_ = __builtin_ia32_rdtsc();
  };

  Answer call_by(VirtQueue& queue, Message& message, u32 room) {
    if (room > kMostRoom) fail("no room for so much");
    memset(room_, kUntouched, room + kGuard);
    const u64 unique = message.header().unique = next_unique_++;
    u16 at = 0;
    const auto add = [&](const void* data, u32 bytes, u16 flags) {
      if (bytes == 0) return;
      if (at > 0) queue.descriptor(u16(at - 1)).flags |= VRING_DESC_F_NEXT;
      queue.descriptor(at) = {reinterpret_cast<u64>(data), bytes, flags, u16(at + 1)};
      ++at;
    };
    add(message.bytes(), message.size(), 0);
    add(message.more(), message.more_bytes(), 0);
    add(room_, room, VRING_DESC_F_WRITE);
    queue.offer(0);
    queue.ring();

    vring_used_elem entry{};
    bool broken = false;
    for (Watch watch; !broken; watch.look()) {
      if (queue.take(entry)) {
        if (entry.id == 0) break;
        note(entry);
      }
      broken = device_.needs_reset();
    }
    const u32 written = broken ? 0 : entry.len;
    if (written > room) fail("an answer of ", written, " bytes for ", room);
    for (u32 i = written; i < room + kGuard; ++i)
      if (room_[i] != kUntouched) fail("byte ", i, " changed behind an answer of ", written);
    if (broken) return {.broken = true};
    if (entry.len == 0) return {};
    const auto& head = *reinterpret_cast<const fuse_out_header*>(room_);
    if (entry.len < sizeof head || head.len != entry.len) fail("an answer that is not as long as it says");
    if (message.size() >= sizeof(fuse_in_header) && head.unique != unique) fail("another's answer");
    if (head.error > 0 || head.error < -4095) fail("error ", u32(head.error), " is none");
    if (head.error != 0 && head.len != sizeof head) fail("error ", u32(-head.error), " with a payload");
    return {.came = true,
            .error = head.error,
            .payload = room_ + sizeof head,
            .bytes = u32(head.len - sizeof head)};
  }

  void note(const vring_used_elem& entry) {
    const u32 number = (entry.id - kFirstLate) / 2;
    if (entry.id < kFirstLate || entry.id % 2 || number > 1) fail("head ", entry.id, " was never offered");
    Late& late = late_.entries[number];
    if (late.ended || late.header.unique != late.unique) fail("an answer to what was not asked");
    late.ended = true;
  }

  VirtioDevice device_;
  VirtQueue requests_, high_priority_;
  u8* room_;
  u64 next_unique_ = 1;
  struct {
    Late entries[2];
  } late_ = {};
};

}  // namespace payload
