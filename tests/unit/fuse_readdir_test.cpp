// SPDX-License-Identifier: Apache-2.0
// Directory streams, and how many descriptors it takes to walk a tree.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <set>

#include "tests/fakes/fuse_guest.h"
#include "tests/fakes/heap.h"
#include "tests/fakes/skip.h"

namespace uvmm {
namespace {

struct Listed {
  std::string name;
  u64 number = 0;
  u64 next = 0;
  u64 node = 0;  // of readdirplus
};

// The entries of one reply, whose padding is checked.
std::vector<Listed> entries_of(const Bytes& payload, bool plus) {
  std::vector<Listed> entries;
  const u64 before = plus ? sizeof(fuse_entry_out) : 0;
  for (u64 at = 0; at < payload.size();) {
    fuse_entry_out entry{};
    if (plus) std::memcpy(&entry, payload.data() + at, sizeof entry);
    fuse_dirent dirent{};
    std::memcpy(&dirent, payload.data() + at + before, FUSE_NAME_OFFSET);
    const auto* const name = reinterpret_cast<const char*>(payload.data() + at + before + FUSE_NAME_OFFSET);
    entries.push_back({std::string(name, dirent.namelen), dirent.ino, dirent.off, entry.nodeid});
    const u64 end = at + before + FUSE_NAME_OFFSET + dirent.namelen;
    at = FUSE_DIRENT_ALIGN(end);
    for (u64 i = end; i < at; ++i) CHECK(payload.at(i) == 0);
  }
  return entries;
}

std::vector<Listed> list(FuseGuest& guest, u64 node, bool plus, u32 size) {
  const u64 handle = guest.open(node, O_RDONLY, FUSE_OPENDIR);
  std::vector<Listed> all;
  for (u64 offset = 0;;) {
    const FuseAnswer answer =
        guest.call(plus ? FUSE_READDIRPLUS : FUSE_READDIR, node,
                   bytes_of(fuse_read_in{.fh = handle, .offset = offset, .size = size}), 16 + size);
    REQUIRE(answer.error == 0);
    if (answer.payload.empty()) break;
    for (Listed& entry : entries_of(answer.payload, plus)) {
      offset = entry.next;
      all.push_back(std::move(entry));
    }
  }
  guest.release(node, handle, FUSE_RELEASEDIR);
  return all;
}

TEST_CASE("readdir: every entry comes once, whatever fits into a reply") {
  FuseGuest guest;
  std::set<std::string> expected{".", ".."};
  for (int i = 0; i < 300; ++i) {
    const std::string name = std::string(static_cast<std::size_t>(i % 40) + 1, 'n') + std::to_string(i);
    guest.put(name, "");
    expected.insert(name);
  }
  for (const bool plus : {false, true}) {
    for (const u32 size : {512u, 4096u, 100'000u}) {
      std::multiset<std::string> names;
      for (const Listed& entry : list(guest, FUSE_ROOT_ID, plus, size)) {
        names.insert(entry.name);
        const bool dots = entry.name == "." || entry.name == "..";
        CHECK((entry.node != 0) == (plus && !dots));
      }
      CHECK(names.size() == expected.size());
      CHECK(std::set<std::string>(names.begin(), names.end()) == expected);
    }
  }
  // Each node was looked up once a listing, and only that often.
  const u64 node = guest.lookup("nn1");
  guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 3}), 0);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == 0);
  guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 1}), 0);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == -ESTALE);
}

TEST_CASE("readdir: numbers are those of stat, and what is above the share has none") {
  FuseGuest guest;
  guest.put("a", "");
  struct stat above{};
  ::stat((guest.directory + "/..").c_str(), &above);
  for (const bool plus : {false, true}) {
    for (const Listed& entry : list(guest, FUSE_ROOT_ID, plus, 4096)) {
      if (entry.name == "a")
        CHECK(entry.number == guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("a")).attr.ino);
      CHECK(entry.number != above.st_ino);
    }
  }
}

TEST_CASE("[case 96] readdir: below a mount that the guest does not make one, numbers are those of stat") {
  for (const bool submounts : {true, false}) {
    FuseGuest guest({.flags = submounts ? ~u64{0} : ~u64{FUSE_SUBMOUNTS}});
    std::filesystem::create_directory(guest.path("m"));
    if (::mount("tmpfs", guest.path("m").c_str(), "tmpfs", 0, nullptr) < 0) return skip("mount: needs root");
    guest.put("m/a", "");
    std::filesystem::create_directory(guest.path("m/d"));
    const u64 root = guest.lookup("m");
    const auto number_of = [&guest](u64 node) {
      return guest.call<fuse_attr_out>(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})).attr.ino;
    };
    for (const bool plus : {false, true}) {
      for (const Listed& entry : list(guest, root, plus, 4096)) {
        INFO(entry.name);
        if (entry.name == "..") continue;
        CHECK(entry.number == number_of(entry.name == "." ? root : guest.lookup(entry.name, root)));
        CHECK((entry.number >> 48 == 0) == submounts);
      }
    }
    ::umount2(guest.path("m").c_str(), MNT_DETACH);
  }
}

TEST_CASE("[case 96] readdir: numbers below mounts are the same when the guest mounts the share again") {
  FuseGuest guest({.init = false});
  for (const char* const mount : {"one", "two"}) {
    std::filesystem::create_directory(guest.path(mount));
    if (::mount("tmpfs", guest.path(mount).c_str(), "tmpfs", 0, nullptr) < 0)
      return skip("mount: needs root");
  }
  const auto number_of = [&guest](const char* name) {
    return guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text(name)).attr.ino;
  };
  guest.initialise(~u64{FUSE_SUBMOUNTS});
  const u64 one = number_of("one"), two = number_of("two");
  CHECK(one != two);
  guest.error_of(FUSE_DESTROY, 0);
  guest.initialise(~u64{FUSE_SUBMOUNTS});
  CHECK(number_of("two") == two);
  CHECK(number_of("one") == one);
  for (const char* const mount : {"one", "two"}) ::umount2(guest.path(mount).c_str(), MNT_DETACH);
}

TEST_CASE(
    "[case 102] readdir: at a place that does not exist there is nothing; a reply too small for an entry is "
    "EINVAL") {
  FuseGuest guest;
  guest.put(std::string(255, 'n'), "");
  const u64 handle = guest.open(FUSE_ROOT_ID, O_RDONLY, FUSE_OPENDIR);
  for (const u32 opcode : {FUSE_READDIR, FUSE_READDIRPLUS}) {
    const auto read = [&](u64 offset, u32 size, u32 room) {
      return guest.call(opcode, FUSE_ROOT_ID,
                        bytes_of(fuse_read_in{.fh = handle, .offset = offset, .size = size}), room);
    };
    const FuseAnswer beyond = read(u64{1} << 63, 4096, 4096);
    CHECK(beyond.error == 0);
    CHECK(beyond.payload.empty());
    CHECK(read(0, 1, 4096).error == -EINVAL);
    CHECK(read(0, 4096, 17).error == -EINVAL);
    // What fills it up to the next entry is zero, which entries_of() checks; ours needs a byte.
    bool found = false;
    for (const Listed& entry : entries_of(read(0, 4096, 4096).payload, opcode == FUSE_READDIRPLUS))
      found |= entry.name == std::string(255, 'n');
    CHECK(found);
  }
  CHECK(guest.fs->server().inodes.size() == 2);
}

TEST_CASE("readdir: names that come and go meanwhile leave the others as they are") {
  FuseGuest guest;
  for (int i = 0; i < 200; ++i) guest.put("keep" + std::to_string(i), "");
  const u64 handle = guest.open(FUSE_ROOT_ID, O_RDONLY, FUSE_OPENDIR);
  std::multiset<std::string> names;
  int changes = 0;
  for (u64 offset = 0;;) {
    const FuseAnswer answer =
        guest.call(FUSE_READDIRPLUS, FUSE_ROOT_ID,
                   bytes_of(fuse_read_in{.fh = handle, .offset = offset, .size = 2048}), 16 + 2048);
    REQUIRE(answer.error == 0);
    if (answer.payload.empty()) break;
    for (const Listed& entry : entries_of(answer.payload, true)) {
      offset = entry.next;
      names.insert(entry.name);
    }
    guest.put("new" + std::to_string(changes), "");
    if (changes > 0) std::filesystem::remove(guest.path("new" + std::to_string(changes - 1)));
    ++changes;
  }
  CHECK(changes > 3);
  for (int i = 0; i < 200; ++i) CHECK(names.count("keep" + std::to_string(i)) == 1);
}

TEST_CASE("readdir: what is listed is found by its name, and once it was used by its file handle") {
  FuseGuest guest({.limits = {.paths = 4}});
  if (!guest.fs->server().share.file_handles) skip("no file handles here");
  guest.put("listed", "");
  guest.put("used", "");
  u64 listed = 0, used = 0;
  for (const Listed& entry : list(guest, FUSE_ROOT_ID, true, 4096)) {
    if (entry.name == "listed") listed = entry.node;
    if (entry.name == "used") used = entry.node;
  }
  const Bytes getattr = bytes_of(fuse_getattr_in{});
  CHECK(guest.error_of(FUSE_GETATTR, used, getattr) == 0);
  // So that no descriptor of it is at hand any more.
  for (int i = 0; i < 8; ++i) {
    guest.put(fmt::format("f{}", i), "");
    guest.error_of(FUSE_GETATTR, guest.lookup(fmt::format("f{}", i)), getattr);
  }
  std::filesystem::rename(guest.path("listed"), guest.path("a"));
  std::filesystem::rename(guest.path("used"), guest.path("b"));
  CHECK(guest.error_of(FUSE_GETATTR, listed, getattr) == -ESTALE);
  CHECK(guest.error_of(FUSE_GETATTR, used, getattr) == 0);
  CHECK(guest.lookup("a") == listed);
  CHECK(guest.error_of(FUSE_GETATTR, listed, getattr) == 0);
}

TEST_CASE("readdir: nothing is left out when names go, where the host counts places") {
  FuseGuest guest;
  std::filesystem::create_directory(guest.path("m"));
  if (::mount("ramfs", guest.path("m").c_str(), "ramfs", 0, nullptr) < 0) return skip("mount: needs root");
  const u64 root = guest.lookup("m");
  // A guest that uses all of a reply, and one that has room for a part of it and asks for the rest again.
  for (const u32 used : {100u, 7u}) {
    for (int i = 0; i < 300; ++i) guest.put("m/f" + std::to_string(i), "");
    const u64 handle = guest.open(root, O_RDONLY, FUSE_OPENDIR);
    for (u64 offset = 0;;) {
      const FuseAnswer answer =
          guest.call(FUSE_READDIRPLUS, root,
                     bytes_of(fuse_read_in{.fh = handle, .offset = offset, .size = 4000}), 16 + 4000);
      const std::vector<Listed> entries = entries_of(answer.payload, true);
      if (entries.empty()) break;
      for (u32 i = 0; i < std::min<std::size_t>(entries.size(), used); ++i) {
        offset = entries[i].next;
        guest.error_of(FUSE_UNLINK, root, text(entries[i].name));
      }
    }
    CHECK(std::filesystem::is_empty(guest.path("m")));
    guest.release(root, handle, FUSE_RELEASEDIR);
  }
  ::umount2(guest.path("m").c_str(), MNT_DETACH);
}

u32 open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<u32>(std::distance(begin(entries), end(entries)));
}

// Walks all of it as `find` does, with a look at each file, and forgets nothing; how many files there are.
u64 walk(FuseGuest& guest, u64 node, u32& most_descriptors) {
  u64 count = 0;
  for (const Listed& entry : list(guest, node, true, 60'000)) {
    if (entry.node == 0) continue;
    ++count;
    const auto looked = guest.call<fuse_attr_out>(FUSE_GETATTR, entry.node, bytes_of(fuse_getattr_in{}));
    CHECK(guest.last_error == 0);
    if (S_ISDIR(looked.attr.mode)) count += walk(guest, entry.node, most_descriptors);
  }
  most_descriptors = std::max(most_descriptors, open_descriptors());
  return count;
}

TEST_CASE(
    "readdir: a tree of many files is walked with few descriptors, and a known file takes little memory") {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit limit = before;
  limit.rlim_cur = 256;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  const int each = std::getenv("UVMM_TEST_FULL") ? 1000 : 30;
  const u64 files = u64{10} * static_cast<u64>(each) * static_cast<u64>(each / 10);
  for (const bool handles : {true, false}) {
    FuseGuest guest({.limits = {.nodes = 4'000'000, .handles = 64, .paths = 32}, .file_handles = handles});
    for (int i = 0; i < 10; ++i) {
      for (int j = 0; j < each / 10; ++j) {
        const std::string directory = guest.path(fmt::format("d{}/e{}", i, j));
        std::filesystem::create_directories(directory);
        for (int k = 0; k < each; ++k) {
          const int fd =
              ::open(fmt::format("{}/f{}", directory, k).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
          REQUIRE(fd >= 0);
          ::close(fd);
        }
      }
    }
    const u32 at_rest = open_descriptors();
    const u64 heap_at_rest = heap_bytes();
    u32 most = 0;
    CHECK(walk(guest, FUSE_ROOT_ID, most) == files + 10 + static_cast<u64>(each));
    // 125 bytes for each with a name or handle of usual length, and as much again of buckets at worst.
    const u64 bytes = heap_bytes() - heap_at_rest;
    INFO(bytes / files << " bytes for each file");
    CHECK(bytes > 0);
    CHECK(bytes <= 160 * files);
    CHECK(most <= at_rest + 64 + 32);
    CHECK(guest.fs->server().files.open_paths() <= 32);
    CHECK(guest.fs->server().inodes.size() == files + 11 + static_cast<u64>(each));
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
  STATIC_REQUIRE(fuse::InodeTable::kBytesPerNode <= 112);
}

}  // namespace
}  // namespace uvmm
