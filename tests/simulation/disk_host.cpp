// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/disk_host.h"

#include <cerrno>

namespace uvmm {

DiskHost::DiskHost(Random& random, u64 sectors)
    : random_(random), bytes_(sectors * kSectorSize), sectors_(sectors) {
  for (u64 i = 0; i < sectors; ++i) {
    std::fill_n(bytes_.begin() + static_cast<i64>(i * kSectorSize), kSectorSize, static_cast<u8>(i + 1));
  }
}

void DiskHost::notice_syncs(const FakeIo& io) {
  for (u32 i = 0; i < io.size(); ++i) {
    const Op* const op = &io.pending(i);
    if (op->kind != Op::Kind::kFdatasync || syncs_.contains(op)) continue;
    std::vector<u64>& covered = syncs_[op];
    for (const Sector& sector : sectors_) covered.push_back(sector.version);
  }
}

// What an operation on `bytes` comes to: a count or an error.
i32 DiskHost::outcome(const Op& op, u64 bytes, bool well) {
  const bool moves = op.kind == Op::Kind::kReadv || op.kind == Op::Kind::kWritev;
  const i32 whole = moves ? static_cast<i32>(bytes) : 0;
  if (op.kind == Op::Kind::kFallocate && lacks_fallocate_) return -EOPNOTSUPP;
  if (well || !random_.one_in(6)) return whole;
  if (moves && random_.one_in(2)) return static_cast<i32>(random_.below(bytes));
  if (op.kind == Op::Kind::kFallocate && random_.one_in(2)) return -EOPNOTSUPP;
  return random_.pick({-EIO, -EIO, -ENOSPC, -ENOMEM, -EAGAIN, -EINTR});
}

i32 DiskHost::perform(FakeIo& io, u32 i, bool well) {
  const Op& op = io.pending(i);
  const bool moves = op.kind == Op::Kind::kReadv || op.kind == Op::Kind::kWritev;
  const u64 bytes = moves ? io.length_of(i) : op.length;
  const i32 result = outcome(op, bytes, well);
  // An operation that fails may have been done in part.
  u64 done = result > 0 ? static_cast<u64>(result) : result == 0 && !moves ? bytes : 0;
  if (result < 0 && result != -EOPNOTSUPP) done = random_.below(bytes + 1);
  if (op.kind == Op::Kind::kReadv) io.fill(i, std::span<const u8>(bytes_).subspan(op.offset, done));
  if (op.kind == Op::Kind::kWritev) change(op.offset, std::span<const u8>(io.bytes_of(i)).first(done));
  if (op.kind == Op::Kind::kFallocate) change(op.offset, std::vector<u8>(done));
  if (op.kind == Op::Kind::kFallocate && result == -EOPNOTSUPP) lacks_fallocate_ = true;
  if (op.kind == Op::Kind::kFdatasync) end_sync(&op, result);
  return result;
}

void DiskHost::change(u64 offset, std::span<const u8> bytes) {
  if (bytes.empty()) return;
  std::ranges::copy(bytes, bytes_.begin() + static_cast<i64>(offset));
  ++changes_;
  for (u64 sector = offset / kSectorSize; sector <= (offset + bytes.size() - 1) / kSectorSize; ++sector) {
    sectors_[sector].version = changes_;
  }
}

void DiskHost::end_sync(const Op* op, i32 result) {
  const std::vector<u64> covered = syncs_.at(op);
  syncs_.erase(op);
  if (result == -EINTR || result == -EAGAIN) sync_failed_ = true;  // was not tried: nothing is lost
  for (u64 i = 0; i < sectors_.size(); ++i) {
    Sector& sector = sectors_[i];
    if (result == 0 && covered[i] > sector.lost) sector.durable = std::max(sector.durable, covered[i]);
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
      sync_failed_ = true;
      if (sector.version > sector.durable) sector.lost = sector.version;
    }
  }
}

}  // namespace uvmm
