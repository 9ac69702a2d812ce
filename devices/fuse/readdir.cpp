// SPDX-License-Identifier: Apache-2.0
// Directory streams. The host's places are the guest's, so that a stream is as stable under change as the
// host's file system makes it.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

u32 padding_after(std::size_t bytes) {
  return static_cast<u32>(FUSE_DIRENT_ALIGN(bytes) - bytes);
}

class Stream {
 public:
  Stream(Server& server, Request& request, bool plus) : server_(server), request_(request), plus_(plus) {}

  i32 run() {
    const auto arguments = request_.arguments.take<fuse_read_in>();
    Handle* const handle = server_.handles.find(arguments->fh, Handle::Kind::kDirectory, *request_.node);
    if (!handle) return -EBADF;
    request_.reply.body().truncate(arguments->size);
    if (!seek(*handle, arguments->offset)) return 0;  // there is nothing at such a place
    const i32 read = fill(*handle);
    // With entries in the reply it is one, whatever came after them.
    return put_any_ ? 0 : read;
  }

 private:
  static bool seek(Handle& handle, u64 place) {
    // From the beginning on it is the directory as it is now.
    if (place == 0 ? handle.part.fresh() : handle.part.go_to(place)) return true;
    if (::lseek(handle.fd.get(), static_cast<off_t>(place), SEEK_SET) < 0) return false;
    handle.part.restart(place);
    return true;
  }

  i32 fill(Handle& handle) {
    for (;;) {
      for (DirectoryEntry entry; handle.part.next(entry);) {
        if (!put(handle, entry)) return put_any_ ? 0 : -EINVAL;
      }
      // About as many as will fit.
      const u64 room = request_.reply.room();
      const u64 wanted = std::clamp<u64>(plus_ ? room / 5 : room, kLeastRead, DirectoryPart::kMostBytes);
      const long bytes = ::syscall(SYS_getdents64, handle.fd.get(), server_.scratch.get(), wanted);
      if (bytes < 0) return -errno;
      if (bytes == 0) return 0;
      handle.part.append({server_.scratch.get(), static_cast<std::size_t>(bytes)});
    }
  }

  // False if there is no room for it.
  bool put(const Handle& handle, const DirectoryEntry& entry) {
    const std::string_view name(entry.name);
    const std::size_t header = plus_ ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    if (FUSE_DIRENT_ALIGN(header + name.size()) > request_.reply.room()) return false;
    const bool dots = entry.is_dots();
    // What is above the share is nobody's business.
    const bool above = dots && name.size() == 2 && request_.node->slot == kRootSlot;
    const u64 number = above ? request_.node->identity.number : shown_number(entry.number);
    fuse_dirent dirent{
        .ino = number, .off = entry.next, .namelen = static_cast<u32>(name.size()), .type = entry.type};
    if (plus_) {
      fuse_entry_out out{};
      if (!dots && find_entry(handle.fd.get(), name, out)) dirent.ino = out.attr.ino;
      request_.reply.put(out);
    }
    request_.reply.put(std::span(reinterpret_cast<const u8*>(&dirent), FUSE_NAME_OFFSET));
    request_.reply.put(std::span(reinterpret_cast<const u8*>(entry.name), name.size()));
    static constexpr u8 kZeros[8] = {};
    request_.reply.put(std::span(kZeros, padding_after(header + name.size())));
    put_any_ = true;
    return true;
  }

  // As stat has it, for what is on the directory's own mount.
  u64 shown_number(u64 number) const {
    if (server_.session.has(FUSE_SUBMOUNTS)) return number;
    return Files::shown_number(number, request_.node->identity.place);
  }

  // False for one that has gone meanwhile, or that cannot be looked at: it has no node, and the guest will
  // look it up.
  bool find_entry(int directory, std::string_view name, fuse_entry_out& entry) {
    const std::expected<Name, i32> checked = Name::check(name);
    Look seen;
    if (!checked || server_.files.look(directory, checked->c_str(), seen) < 0) return false;
    const Node* const node = server_.files.enter_listed(*request_.node, *checked, seen);
    if (node) fill_entry(server_, *request_.node, *node, seen, entry);
    return node != nullptr;
  }

  static constexpr u64 kLeastRead = 512;  // takes an entry with the longest name

  Server& server_;
  Request& request_;
  const bool plus_;
  bool put_any_ = false;
};

}  // namespace

i32 readdir(Server& server, Request& request) {
  return Stream(server, request, false).run();
}

i32 readdirplus(Server& server, Request& request) {
  return Stream(server, request, true).run();
}

}  // namespace uvmm::fuse
