// SPDX-License-Identifier: Apache-2.0
// Share: the host directory that a guest is given, opened once, and how it is given. Lives in the Fs;
// constant after open().
#pragma once

#include <string>

#include "devices/fuse/owners.h"
#include "vmm/base/fd.h"
#include "vmm/base/result.h"

namespace uvmm::fuse {

enum class Caching : u8 {
  kNever,   // every look at a file asks the host
  kAuto,    // attributes and names for a second, content until the file changes
  kAlways,  // whatever was seen, until the guest forgets it: for directories that nobody else changes
};

struct ShareOptions {
  std::string path;
  std::string tag;
  bool read_only = false;
  bool writeback = false;  // the guest gathers writes and keeps times and sizes itself
  Caching caching = Caching::kAuto;
  std::optional<u32> uid;  // unset: ids pass through if they can, else 0
  std::optional<u32> gid;
};

struct Share {
  // Opens the directory and finds out what this process may do in it.
  static Result<Share> open(const ShareOptions& options);

  ShareOptions options;
  Owners owners;
  Fd root;                    // a directory that can be read
  Fd descriptors;             // /proc/self/fd: what is opened by number is opened anew through it
  bool file_handles = false;  // the host gives out file handles here and takes them back
};

}  // namespace uvmm::fuse
