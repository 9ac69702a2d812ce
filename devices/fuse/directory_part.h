// SPDX-License-Identifier: Apache-2.0
// DirectoryPart: entries of a directory as the host's getdents64() gave them, from a place on that the guest
// may ask for again. A value; I/O thread only; lives in the directory's handle.
//
// On file systems whose places are counted (tmpfs before Linux 6.6, ramfs) to go back to a place after names
// were removed would leave out as many others. So nothing that is here is read from the host twice.
#pragma once

#include <dirent.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "vmm/base/types.h"

namespace uvmm::fuse {

struct DirectoryEntry {
  u64 number;
  u64 next;  // the place behind it
  u32 type;
  const char* name;

  bool is_dots() const { return std::string_view(name) == "." || std::string_view(name) == ".."; }
};

class DirectoryPart {
 public:
  // Enough for a reply to a guest that asks for a page of entries.
  static constexpr std::size_t kMostBytes = 8192;

  // Nothing was read of the directory yet.
  bool fresh() const { return fresh_; }

  // Whether it knows what comes at that place, be it that it ends there. If so, it begins there from now on.
  bool go_to(u64 place) {
    read_ = 0;
    place_ = start_;
    for (DirectoryEntry entry; place_ != place;) {
      if (!next(entry)) return false;
    }
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(read_));
    read_ = 0;
    start_ = place;
    return true;
  }

  // The next one; false at the end. Its name is good until anything else is done here.
  bool next(DirectoryEntry& entry) {
    constexpr std::size_t kHeader = offsetof(dirent64, d_name);
    if (bytes_.size() - read_ <= kHeader) return false;
    dirent64 header;
    std::memcpy(&header, bytes_.data() + read_, kHeader);
    entry = {.number = header.d_ino,
             .next = static_cast<u64>(header.d_off),
             .type = header.d_type,
             .name = reinterpret_cast<const char*>(bytes_.data() + read_ + kHeader)};
    read_ += std::min<std::size_t>(header.d_reclen, bytes_.size() - read_);
    place_ = entry.next;
    return true;
  }

  // When all were read: what the host has next. What there was is left out if it gets too much.
  void append(std::span<const u8> bytes) {
    if (bytes_.size() + bytes.size() > kMostBytes) restart(place_);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    fresh_ = false;
  }

  // The descriptor is at that place now.
  void restart(u64 place) {
    bytes_.clear();
    read_ = 0;
    start_ = place_ = place;
    fresh_ = false;
  }

 private:
  std::vector<u8> bytes_;
  std::size_t read_ = 0;  // bytes, by next()
  u64 start_ = 0;         // the place of the first entry
  u64 place_ = 0;         // that of the next
  bool fresh_ = true;
};

}  // namespace uvmm::fuse
