// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/session.h"

#include <algorithm>
#include <cerrno>

namespace uvmm::fuse {
namespace {

u64 wanted(const Share& share) {
  u64 flags = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DONT_MASK |
              FUSE_FLOCK_LOCKS | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
              FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 |
              FUSE_SETXATTR_EXT | FUSE_INIT_EXT;
  // Access lists have ids in them, which mean nothing where all files are mapped to one owner.
  if (share.owners.passes_through()) flags |= FUSE_POSIX_ACL;
  if (share.options.writeback) flags |= FUSE_WRITEBACK_CACHE;
  switch (share.options.caching) {
    case Caching::kNever:
      return flags | kDirectIoAllowMmap;
    case Caching::kAuto:
      return flags | FUSE_AUTO_INVAL_DATA | FUSE_CACHE_SYMLINKS;
    case Caching::kAlways:
      return flags | FUSE_CACHE_SYMLINKS;
  }
  return flags;
}

}  // namespace

std::expected<fuse_init_out, i32> Session::negotiate(const fuse_init_in& offer, const Share& share) {
  fuse_init_out answer{.major = kMajor, .minor = kMinor};
  if (offer.major > kMajor) return answer;
  if (offer.major < kMajor || offer.minor < kOldestMinor) return std::unexpected(-EPROTO);

  u64 offered = offer.flags;
  if (offered & FUSE_INIT_EXT) offered |= u64{offer.flags2} << 32;
  flags_ = offered & wanted(share);
  established_ = true;

  answer.max_readahead = std::min(offer.max_readahead, kMostBytes);
  answer.flags = static_cast<u32>(flags_);
  answer.flags2 = static_cast<u32>(flags_ >> 32);
  answer.max_background = 64;
  answer.congestion_threshold = 48;
  answer.max_write = kMostBytes;
  answer.time_gran = 1;
  answer.max_pages = kMostPages;
  return answer;
}

}  // namespace uvmm::fuse
