// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "devices/fuse/file_handle.h"

namespace uvmm::fuse {
namespace {

constexpr u32 kDeepest = 1024;  // names in a row
constexpr unsigned kMask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;

u64 nanoseconds(const struct statx_timestamp& time) {
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

int open_beneath(int directory, const char* name, u64 flags, u32 mode) {
  const struct open_how how{.flags = flags | O_NOFOLLOW | O_CLOEXEC,
                            .mode = mode,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS};
  return static_cast<int>(::syscall(SYS_openat2, directory, name, &how, sizeof how));
}

Files::Files(const Share& share, InodeTable& inodes, u32 most_paths)
    : share_(share), inodes_(inodes), most_paths_(std::max(most_paths, kLeastPaths)) {
  inodes_.set_listener(this);
}

Files::~Files() {
  inodes_.clear();
}

bool Files::start() {
  Look seen;
  if (look(share_.root.get(), "", seen) < 0) return false;
  Node* const root = inodes_.add(seen.identity);
  InodeTable::count_lookup(*root);
  return true;
}

i32 Files::path(Node& node) {
  if (node.slot == kRootSlot) return share_.root.get();
  if (node.path_fd >= 0) {
    use(node);
    return node.path_fd;
  }
  const i32 open = find_open_ ? find_open_(find_open_context_, node) : -1;
  if (open >= 0) return open;
  const i32 fd = reopen(node);
  if (fd < 0) return fd;
  keep(node, fd);
  if (!node.by_handle) locate_by_handle(node, fd, "");
  return fd;
}

i32 Files::reopen(Node& node) {
  if (!node.by_handle) return reopen_by_names(node);
  FileHandle handle(node.locator.get());
  const int fd = handle.open(share_.root.get(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -errno;
  if (is_it(fd, node)) return fd;
  ::close(fd);
  return -ESTALE;
}

// Goes up to the next node that is open, and from there down again. The directories on the way are not kept,
// so that the cache keeps what is used.
i32 Files::reopen_by_names(Node& node) {
  std::array<Node*, kDeepest> way;
  u32 steps = 0;
  Node* at = &node;
  while (at->slot != kRootSlot && at->path_fd < 0 && !at->by_handle) {
    if (at->parent == kNoSlot || steps == kDeepest) return -ESTALE;
    way[steps++] = at;
    at = &inodes_.at(at->parent);
  }
  i32 fd = path(*at);
  if (fd < 0) return fd;
  Fd opened;  // of these only what was opened here is closed
  while (steps > 0) {
    Node& next = *way[--steps];
    Fd below(open_beneath(fd, next.locator.get(), O_PATH));
    if (!below) return errno == ENOENT || errno == ENOTDIR ? -ESTALE : -errno;
    if (!is_it(below.get(), next)) return -ESTALE;
    fd = below.get();
    opened = std::move(below);
  }
  return opened.release();
}

bool Files::is_it(int fd, const Node& node) {
  Look seen;
  return look(fd, "", seen) == 0 && seen.identity == node.identity;
}

i32 Files::look(int fd, const char* name, Look& result) {
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
  if (::statx(fd, name, flags, kMask, &result.status) < 0) return -errno;
  result.identity = identity_of(result.status);
  return 0;
}

Identity Files::identity_of(const struct statx& status) {
  const Place place{.mount = status.stx_mask & STATX_MNT_ID ? status.stx_mnt_id : 0,
                    .device_major = status.stx_dev_major,
                    .device_minor = status.stx_dev_minor};
  if (last_place_ >= places_.size() || places_[last_place_] != place) {
    last_place_ = static_cast<u32>(std::ranges::find(places_, place) - places_.begin());
    if (last_place_ == places_.size()) places_.push_back(place);
  }
  return {.number = status.stx_ino,
          .born_ns = status.stx_mask & STATX_BTIME ? nanoseconds(status.stx_btime) : 0,
          .place = last_place_,
          .type = status.stx_mode & u32{S_IFMT}};
}

Node* Files::node_of(const Look& seen) {
  Node* const known = inodes_.find(seen.identity);
  Node* const node = known ? known : inodes_.add(seen.identity);
  if (node) InodeTable::count_lookup(*node);
  return node;
}

Node* Files::node_in(const Node& parent, const Look& seen) {
  Node* const node = node_of(seen);
  if (node) node->foreign = seen.identity.place != parent.identity.place && !S_ISDIR(seen.identity.type);
  return node;
}

Node* Files::enter(Node& parent, int parent_fd, Name name, const Look& seen) {
  Node* const node = node_in(parent, seen);
  // Should it be another file's by now, it will be noticed when it is opened.
  if (node && !node->by_handle && !locate_by_handle(*node, parent_fd, name.c_str()))
    inodes_.locate(*node, parent, name.text());
  return node;
}

Node* Files::enter_listed(Node& parent, Name name, const Look& seen) {
  Node* const node = node_in(parent, seen);
  if (node && !node->by_handle) inodes_.locate(*node, parent, name.text());
  return node;
}

// `name` in the directory `fd`, or with an empty name `fd` itself.
bool Files::locate_by_handle(Node& node, int fd, const char* name) {
  const bool own_mount = node.identity.place == inodes_.at(kRootSlot).identity.place;
  FileHandle handle;
  if (!share_.file_handles || !own_mount || !handle.take(fd, name, *name ? 0 : AT_EMPTY_PATH)) return false;
  inodes_.locate(node, handle.packed());
  return true;
}

Node* Files::enter_unnamed(int fd, const Look& seen) {
  Node* const node = node_of(seen);
  if (node && !node->locator) locate_by_handle(*node, fd, "");
  return node;
}

u64 Files::shown_number(u64 number, u32 place) {
  if (place == 0) return number;
  constexpr unsigned kPlaceShift = 48;
  if (number >> kPlaceShift == 0 && place < 0x8000) return number | u64{place} << kPlaceShift;
  // There are file systems whose numbers take all 64 bits.
  return (number * 0x9e3779b97f4a7c15 ^ place * 0xbf58476d1ce4e5b9) | u64{1} << 63;
}

void Files::keep(Node& node, int fd) {
  if (open_paths_ == most_paths_) drop(inodes_.at(oldest_));
  ++open_paths_;
  node.path_fd = fd;
  node.older = newest_;
  (newest_ == kNoSlot ? oldest_ : inodes_.at(newest_).newer) = node.slot;
  newest_ = node.slot;
}

void Files::use(Node& node) {
  if (newest_ == node.slot) return;
  leave_list(node);
  node.older = newest_;
  inodes_.at(newest_).newer = node.slot;
  newest_ = node.slot;
}

void Files::leave_list(Node& node) {
  (node.older == kNoSlot ? oldest_ : inodes_.at(node.older).newer) = node.newer;
  (node.newer == kNoSlot ? newest_ : inodes_.at(node.newer).older) = node.older;
  node.newer = node.older = kNoSlot;
}

void Files::drop(Node& node) {
  if (node.path_fd < 0) return;
  leave_list(node);
  ::close(std::exchange(node.path_fd, -1));
  --open_paths_;
}

}  // namespace uvmm::fuse
