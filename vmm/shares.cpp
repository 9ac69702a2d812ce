// SPDX-License-Identifier: Apache-2.0
#include "vmm/shares.h"

#include <sys/resource.h>

#include <algorithm>

#include "vmm/base/place.h"
#include "vmm/base/result.h"

namespace uvmm {
namespace {

// A guest needs about as much memory for a file that it knows, so that one that behaves never meets this
// limit.
constexpr u64 kGuestBytesPerNode = 768;
constexpr u32 kLeastNodes = 64 * 1024;
constexpr u32 kMostPaths = 1024;
constexpr u64 kMostHandles = 64 * 1024;
constexpr u64 kReservedDescriptors = 256;  // for the rest of this process

// What the guest could take the VM over with, or leave it by, if it could write to it. Some may be empty.
std::vector<std::string> own_files(const Config& config) {
  std::vector<std::string> files = config.initrds;
  files.push_back(config.kernel);
  for (const DiskConfig& disk : config.disks) {
    if (!disk.disk) files.push_back(disk.path);
  }
  if (!config.console.path.empty()) files.push_back(config.console.path);
  // The guest would connect to whatever socket it gives the name of one of its ports.
  if (config.vsock && !config.vsock->path.empty()) files.push_back(config.vsock->path);
  return files;
}

Result<void> check_place(const ShareConfig& share, const Config& config) {
  const std::string directory = real_path(share.path);
  if (directory == "/")
    return with_hint(fail(ErrorKind::kBadData, "cannot share {}: it is the whole file system", share.path),
                     "share the directory that the guest needs");
  if (share.read_only || directory.empty()) return {};
  for (const std::string& file : own_files(config)) {
    if (!lies_in(real_place(file), directory)) continue;
    return with_hint(
        fail(ErrorKind::kBadData, "cannot share {}: {}, which this VM uses, is in it", share.path, file),
        "share another directory, or add `ro`");
  }
  return {};
}

fuse::Caching caching_of(ShareConfig::Cache cache) {
  switch (cache) {
    case ShareConfig::Cache::kAuto:
      return fuse::Caching::kAuto;
    case ShareConfig::Cache::kAlways:
      return fuse::Caching::kAlways;
    case ShareConfig::Cache::kNever:
      return fuse::Caching::kNever;
  }
  return fuse::Caching::kAuto;
}

}  // namespace

std::string share_tag(const ShareConfig& share) {
  if (!share.tag.empty()) return share.tag;
  std::string path = share.path;
  while (path.ends_with('/')) path.pop_back();
  return path.substr(path.rfind('/') + 1);  // which is 0 if there is none
}

Result<std::vector<fuse::Share>> open_shares(const Config& config) {
  std::vector<fuse::Share> shares;
  for (const ShareConfig& share : config.shares) {
    UVMM_CHECK(check_place(share, config));
    const fuse::ShareOptions options{.path = share.path,
                                     .tag = share_tag(share),
                                     .read_only = share.read_only,
                                     .writeback = share.writeback,
                                     .caching = caching_of(share.cache),
                                     .uid = share.uid,
                                     .gid = share.gid};
    shares.push_back(UVMM_TRY(fuse::Share::open(options)));
  }
  return shares;
}

fuse::Limits share_limits(const Config& config) {
  rlimit limit{.rlim_cur = 1024};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const u64 all = limit.rlim_cur;
  const u64 each = (all - std::min(all / 4, kReservedDescriptors)) / std::max<u64>(config.shares.size(), 1);
  const u64 nodes = config.memory.bytes / kGuestBytesPerNode;
  return {
      .nodes = static_cast<u32>(std::clamp<u64>(nodes, kLeastNodes, fuse::kNoSlot / 2)),
      .handles = static_cast<u32>(std::min(each - each / 3, kMostHandles)),
      .paths = static_cast<u32>(std::min<u64>(each / 3, kMostPaths)),
  };
}

}  // namespace uvmm
