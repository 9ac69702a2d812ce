// SPDX-License-Identifier: Apache-2.0
// That nothing is left of a guest that does many different things and then gives back all that it was given.
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>

#include "tests/fakes/fuse_guest.h"
#include "tests/fakes/heap.h"

namespace uvmm {
namespace {

u32 open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<u32>(std::distance(begin(entries), end(entries)));
}

// Does anything, and keeps account of each lookup and handle that an answer has told of.
class Accountant {
 public:
  Accountant(FuseGuest& guest, u32 seed) : guest_(guest), random_(seed) {}

  void step() {
    const u64 parent = directory();
    const Bytes first = name();
    const Bytes second = name();
    switch (pick(20)) {
      case 0:
        return see(entry(FUSE_MKDIR, parent, bytes_of(fuse_mkdir_in{.mode = 0755}) + first));
      case 1:
        return see(entry(FUSE_SYMLINK, parent, first + text("target")));
      case 2:
        return see(entry(FUSE_MKNOD, parent, bytes_of(fuse_mknod_in{.mode = S_IFREG | 0644}) + first));
      case 3:
        return see(entry(FUSE_LINK, parent, bytes_of(fuse_link_in{.oldnodeid = node()}) + first));
      case 4:
      case 5:
        return create(parent, first);
      case 6:
        guest_.error_of(pick(2) ? FUSE_UNLINK : FUSE_RMDIR, parent, first);
        return;
      case 7:
        guest_.error_of(FUSE_RENAME2, parent,
                        bytes_of(fuse_rename2_in{.newdir = directory(), .flags = pick(3)}) + first + second);
        return;
      case 8:
        return open(pick(4) ? node() : FUSE_ROOT_ID);
      case 9:
      case 10:
        return release(pick(64));
      case 11:
        return list();
      case 12:
        return lock();
      case 13:
        return forget_some();
      case 14:
        guest_.error_of(FUSE_SETATTR, node(),
                        bytes_of(fuse_setattr_in{.valid = FATTR_SIZE, .size = pick(5000)}));
        return;
      case 15:
        if (const auto* const open = handle()) guest_.write(open->node, open->id, pick(5000), "content");
        return;
      case 16:
        guest_.error_of(FUSE_GETATTR, node(), bytes_of(fuse_getattr_in{}));
        return;
      default:
        return see(entry(FUSE_LOOKUP, parent, first));
    }
  }

  void give_all_back() {
    while (!handles_.empty()) release(0);
    for (const auto& [id, lookups] : lookups_)
      guest_.call(FUSE_FORGET, id, bytes_of(fuse_forget_in{.nlookup = lookups}), 0);
    lookups_.clear();
    directories_ = {FUSE_ROOT_ID};
  }

 private:
  struct Open {
    u64 node, id;
    bool directory;
  };

  u32 pick(u32 count) { return static_cast<u32>(random_() % count); }
  Bytes name() { return text(fmt::format("n{}", pick(12))); }
  u64 directory() { return directories_[pick(static_cast<u32>(directories_.size()))]; }
  u64 node() {
    if (lookups_.empty()) return FUSE_ROOT_ID;
    return std::next(lookups_.begin(), pick(static_cast<u32>(lookups_.size())))->first;
  }
  const Open* handle() {
    return handles_.empty() ? nullptr : &handles_[pick(static_cast<u32>(handles_.size()))];
  }

  fuse_entry_out entry(u32 opcode, u64 parent, const Bytes& arguments) {
    return guest_.call<fuse_entry_out>(opcode, parent, arguments);
  }
  void see(const fuse_entry_out& entry) {
    if (entry.nodeid == 0) return;
    if (++lookups_[entry.nodeid] == 1 && S_ISDIR(entry.attr.mode)) directories_.push_back(entry.nodeid);
  }
  void create(u64 parent, const Bytes& name) {
    const bool unnamed = pick(4) == 0;
    const fuse_create_in arguments{.flags = O_RDWR | (pick(2) ? O_TRUNC : 0u), .mode = S_IFREG | 0644};
    const FuseAnswer answer =
        guest_.call(unnamed ? FUSE_TMPFILE : FUSE_CREATE, parent, bytes_of(arguments) + name);
    if (answer.error < 0) return;
    const auto made = answer.as<fuse_entry_out>();
    see(made);
    handles_.push_back({made.nodeid, answer.as<fuse_open_out>(sizeof made).fh, false});
  }
  void open(u64 node) {
    const bool directory = std::ranges::count(directories_, node) > 0;
    const FuseAnswer answer =
        guest_.call(directory ? FUSE_OPENDIR : FUSE_OPEN, node, bytes_of(fuse_open_in{.flags = pick(3)}));
    if (answer.error == 0) handles_.push_back({node, answer.as<fuse_open_out>().fh, directory});
  }
  void release(u32 which) {
    if (handles_.empty()) return;
    const auto gone = handles_.begin() + static_cast<std::ptrdiff_t>(which % handles_.size());
    guest_.release(gone->node, gone->id, gone->directory ? FUSE_RELEASEDIR : FUSE_RELEASE);
    CHECK(guest_.last_error == 0);
    handles_.erase(gone);
  }
  void lock() {
    const Open* const open = handle();
    if (!open || open->directory) return;
    const fuse_lk_in wish{
        .fh = open->id, .owner = pick(3), .lk = {.start = pick(50), .end = 50 + pick(50), .type = pick(3)}};
    guest_.error_of(FUSE_SETLK, open->node, bytes_of(wish));
  }
  void list() {
    const Open* const open = handle();
    if (!open || !open->directory) return;
    const FuseAnswer answer = guest_.call(FUSE_READDIRPLUS, open->node,
                                          bytes_of(fuse_read_in{.fh = open->id, .size = 1000 + pick(3000)}));
    for (u64 at = 0; at < answer.payload.size();) {
      see(answer.as<fuse_entry_out>(at));
      const auto dirent = answer.as<fuse_dirent>(at + sizeof(fuse_entry_out));
      at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + dirent.namelen);
    }
  }
  void forget_some() {
    if (lookups_.empty()) return;
    const auto known = lookups_.find(node());
    // What is open is not forgotten, as with Linux.
    const bool open = std::ranges::count(handles_, known->first, &Open::node) > 0;
    const u64 most = known->second - open;
    if (most == 0) return;
    const u64 count = 1 + pick(static_cast<u32>(most));
    guest_.call(FUSE_FORGET, known->first, bytes_of(fuse_forget_in{.nlookup = count}), 0);
    known->second -= count;
    if (known->second > 0) return;
    std::erase(directories_, known->first);
    lookups_.erase(known);
  }

  FuseGuest& guest_;
  std::mt19937 random_;
  std::map<u64, u64> lookups_;  // by node
  std::vector<u64> directories_{FUSE_ROOT_ID};
  std::vector<Open> handles_;
};

TEST_CASE("fuse: of a guest that gives back what it was given, nothing is left after many operations") {
  const u32 rounds = std::getenv("UVMM_TEST_FULL") ? 20 : 4;
  const u32 steps = std::getenv("UVMM_TEST_FULL") ? 5000 : 500;
  for (const bool handles : {true, false}) {
    FuseGuest guest({.limits = {.nodes = 80, .handles = 24, .paths = 8}, .file_handles = handles});
    const fuse::Server& server = guest.fs->server();
    const u32 descriptors = open_descriptors();
    u64 heap = 0;
    for (u32 round = 0; round < rounds; ++round) {
      Accountant accountant(guest, round);
      for (u32 i = 0; i < steps; ++i) accountant.step();
      CHECK(server.inodes.size() > 5);
      accountant.give_all_back();
      INFO(round);
      CHECK(server.inodes.size() == 1);
      CHECK(server.handles.descriptors() == 0);
      CHECK(server.files.open_paths() == 0);
      CHECK(open_descriptors() == descriptors);
      // The first round has made room that later ones use, too.
      if (round == 1) heap = heap_bytes();
      if (round > 1) CHECK(heap_bytes() <= heap + steps * 4);
      for (const auto& entry : std::filesystem::directory_iterator(guest.directory))
        std::filesystem::remove_all(entry);
    }
  }
}

}  // namespace
}  // namespace uvmm
