// SPDX-License-Identifier: Apache-2.0
// DiskHost: a model of a host's file: its bytes as readers see them, which of them would survive a power cut,
// and the faults of reads, writes, fdatasync and fallocate. When the host fails to write back a page, it says
// so in one fdatasync and forgets the page: those that follow succeed, and it is not on disk.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "devices/disk_image.h"
#include "tests/fakes/fake_io.h"
#include "tests/simulation/random.h"

namespace uvmm {

class DiskHost {
 public:
  DiskHost(Random& random, u64 sectors);

  const std::vector<u8>& bytes() const { return bytes_; }
  // Numbers the changes of a sector. Higher is later.
  u64 version(u64 sector) const { return sectors_[sector].version; }
  // Whether that change, or a later one, is on disk.
  bool durable(u64 sector, u64 version) const { return sectors_[sector].durable >= version; }
  bool sync_failed() const { return sync_failed_; }
  bool lacks_fallocate() const { return lacks_fallocate_; }

  // To be called when operations may have been submitted: a sync covers what was written before it.
  void notice_syncs(const FakeIo& io);
  // Those that were in flight have been cancelled.
  void forget_syncs() { syncs_.clear(); }
  // Does what the i-th operation asks for, or part of it, and returns the result that it is to end with.
  i32 perform(FakeIo& io, u32 i, bool well);

 private:
  struct Sector {
    u64 version = 1;
    u64 durable = 1;
    u64 lost = 0;  // up to this one, nothing else will become durable
  };
  i32 outcome(const Op& op, u64 bytes, bool well);
  void change(u64 offset, std::span<const u8> bytes);
  void end_sync(const Op* op, i32 result);

  Random& random_;
  std::vector<u8> bytes_;
  std::vector<Sector> sectors_;
  std::map<const Op*, std::vector<u64>> syncs_;  // in flight, with the versions that they cover
  u64 changes_ = 1;
  bool sync_failed_ = false;
  bool lacks_fallocate_ = false;
};

}  // namespace uvmm
