// SPDX-License-Identifier: Apache-2.0
// FuseGuest: a guest that speaks FUSE to an Fs over a directory of the host that goes away with it. Honest by
// default, with every byte at hand for one that is not. What the device asks of the Io the host really does,
// unless a test looks first.
//
//   const auto entry = guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("name"));
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "devices/fs.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {

using Bytes = std::vector<u8>;

// A request's parts as bytes.
template <typename T>
  requires(std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>)
Bytes bytes_of(const T& value) {
  const auto* const first = reinterpret_cast<const u8*>(&value);
  return {first, first + sizeof value};
}
inline Bytes text(std::string_view text) {  // with its NUL
  Bytes bytes(text.begin(), text.end());
  bytes.push_back(0);
  return bytes;
}
inline Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

struct FuseAnswer {
  bool answered = false;
  i32 error = 0;
  u64 unique = 0;
  Bytes payload;

  template <typename T>
  T as(u64 offset = 0) const {
    T value{};
    if (payload.size() >= offset + sizeof value) std::memcpy(&value, payload.data() + offset, sizeof value);
    return value;
  }
};

class FuseGuest {
 public:
  struct Setup {
    fuse::ShareOptions options = {};
    fuse::Limits limits = {};
    bool file_handles = true;    // if the host has them
    std::string directory = {};  // empty: a fresh one
    bool init = true;
    u64 flags = ~u64{0};     // what the guest offers in FUSE_INIT
    FakeRam* ram = nullptr;  // null: its own
  };
  FuseGuest() : FuseGuest(Setup{}) {}
  explicit FuseGuest(const Setup& setup);
  ~FuseGuest();

  // One request to its end.
  FuseAnswer call(u32 opcode, u64 node, const Bytes& arguments = {}, u32 room = 4096);
  template <typename T>
  T call(u32 opcode, u64 node, const Bytes& arguments = {}) {
    const FuseAnswer answer = call(opcode, node, arguments);
    last_error = answer.error;
    return answer.as<T>();
  }
  i32 error_of(u32 opcode, u64 node, const Bytes& arguments = {}) {
    return call(opcode, node, arguments).error;
  }
  // A request whose header is given; `head` keeps what was offered, for answer().
  std::vector<GuestAddress> offer(const fuse_in_header& header, const Bytes& arguments, u32 room);
  // Lets the host do all that it is asked for.
  void settle();
  FuseAnswer answer(const std::vector<GuestAddress>& at, u32 room);
  fuse_in_header header(u32 opcode, u64 node, const Bytes& arguments);

  fuse_init_out initialise(u64 flags = ~u64{0}, u32 major = 7, u32 minor = 38);
  u64 lookup(std::string_view name, u64 parent = FUSE_ROOT_ID);
  u64 open(u64 node, u32 flags, u32 opcode = FUSE_OPEN);
  Bytes read(u64 node, u64 handle, u64 offset, u32 size);
  i32 write(u64 node, u64 handle, u64 offset, std::string_view text, u32 write_flags = 0, u32 flags = 0);
  void release(u64 node, u64 handle, u32 opcode = FUSE_RELEASE);
  // A fresh file made by FUSE_CREATE; its node, and its handle in `handle`.
  u64 create(std::string_view name, u64& handle, u32 mode = 0644, u32 flags = 2 /* O_RDWR */);

  std::string path(std::string_view name) const { return directory + "/" + std::string(name); }
  void put(std::string_view name, std::string_view content) const;
  std::string get(std::string_view name) const;

  std::string directory;
  std::vector<std::string> lines;
  Log log{[this](LogLevel, std::string_view line) { lines.emplace_back(line); }, LogLevel::kWarning};
  FakeIo io;
  std::unique_ptr<FakeRam> own_ram;
  FakeRam& ram;
  FakeDriver driver{ram, 64};
  std::optional<Fs> fs;
  std::optional<FakeQueue> queue;
  TaskScope tasks;
  u32 uid = 0, gid = 0;  // of the caller
  u64 unique = 1;
  i32 last_error = 0;

 private:
  bool remove_ = false;
};

}  // namespace uvmm
