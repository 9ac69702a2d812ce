// SPDX-License-Identifier: Apache-2.0
// The model of a disk: a request fails only if the host failed it; what is read is what the file has, what is
// written gets there; nothing is asked of the host that no valid request wants; and what is acknowledged as
// durable is on disk.
#include <linux/virtio_blk.h>
#include <cerrno>

#include <catch2/catch.hpp>
#include <optional>

#include "devices/block.h"
#include "tests/simulation/disk_host.h"
#include "tests/simulation/simulation.h"

namespace uvmm {
namespace {

constexpr u64 kSectors = 256;
constexpr u64 kMostRefusals = 8;  // that a transfer must bear

class BlockSimulation final : public Simulation {
 public:
  BlockSimulation(u64 seed, FakeRam& memory)
      : Simulation(seed, memory),
        read_only_(random.one_in(8)),
        direct_(random.one_in(3)),
        block_bytes_(direct_ && random.one_in(2) ? 4096 : kSectorSize),
        block_(io, DiskImage(Fd(), "simulated", read_only_, geometry()),
               {.serial = "serial", .queues = static_cast<u16>(random.between(1, 4))}, log_) {}

 private:
  // A request's hold on a range of the disk, while it is out.
  struct Claim {
    u64 sector;
    u64 sectors;
    bool write;
    bool failed = false;
    u64 refusals = 0;
  };
  using ClaimId = u64;

  DiskImage::Geometry geometry() const {
    DiskImage::Geometry geometry{.bytes = kSectors * kSectorSize, .can_discard = true};
    if (direct_) geometry.memory_alignment = 512;
    if (direct_)
      geometry.offset_alignment = geometry.logical_block_size = geometry.physical_block_size = block_bytes_;
    return geometry;
  }

  FakeCard& card() override { return card_; }
  void started(u64 features) override { features_ = features; }
  void was_reset() override {
    claims_.clear();
    host_.forget_syncs();
  }
  bool negotiated(unsigned bit) const { return has_feature(features_, bit); }

  // --- valid requests

  bool offer(SimulatedQueue& queue) override {
    switch (random.below(8)) {
      case 0:
        return offer_id(queue);
      case 1:
        return negotiated(VIRTIO_BLK_F_FLUSH) && offer_flush(queue);
      case 2:
        return !read_only_ && offer_clear(queue);
      case 3:
      case 4:
      case 5:
        return !read_only_ && offer_write(queue);
      default:
        return offer_read(queue);
    }
  }

  Parts request(SimulatedQueue& queue, u32 type, u64 sector = 0) {
    Parts made = parts(queue);
    add_readable(made, virtio_blk_outhdr{.type = type, .sector = sector});
    return made;
  }
  void place_with_status(SimulatedQueue& queue, Parts& parts,
                         std::function<void(u8 status, u32 used)> check) {
    const GuestAddress status = add_writable(parts, 1);
    place(queue, parts, [this, status, check = std::move(check)](const vring_used_elem& used) {
      check(*ram.memory().read<u8>(status), used.len);
    });
  }

  // A range of whole blocks that no other request that is out has, so that each host operation tells its
  // request.
  std::optional<ClaimId> claim(bool write) {
    const u64 unit = block_bytes_ / kSectorSize;
    const u64 blocks = random.between(1, random.one_in(8) ? 16 : 3);
    const u64 sector = random.below(kSectors / unit - blocks + 1) * unit;
    const Claim wanted{.sector = sector, .sectors = blocks * unit, .write = write};
    for (const auto& [id, other] : claims_) {
      if (other.sector < sector + wanted.sectors && sector < other.sector + other.sectors)
        return std::nullopt;
    }
    claims_[++last_claim_] = wanted;
    return last_claim_;
  }
  Claim release(ClaimId id) {
    const Claim claim = claims_.at(id);
    claims_.erase(id);
    return claim;
  }
  u64 alignment() { return random.one_in(2) ? 512 : 1; }

  bool offer_read(SimulatedQueue& queue) {
    const auto id = claim(false);
    if (!id) return false;
    const Claim& range = claims_[*id];
    const u64 bytes = range.sectors * kSectorSize;
    Parts made = request(queue, VIRTIO_BLK_T_IN, range.sector);
    scatter_writable(made, bytes, alignment());
    const std::vector<Buffer> buffers = made.writable;
    place_with_status(queue, made, [this, id, bytes, buffers](u8 status, u32 used) {
      const Claim claimed = release(*id);
      require_status(status, claimed);
      if (status != VIRTIO_BLK_S_OK) return require(used <= 1);
      require(used == bytes + 1);
      const std::vector<u8> content = read(buffers, bytes);
      require(std::equal(content.begin(), content.end(), bytes_at(claimed.sector)));
    });
    return true;
  }

  bool offer_write(SimulatedQueue& queue) {
    const auto id = claim(true);
    if (!id) return false;
    const Claim& range = claims_[*id];
    const std::vector<u8> data = random.bytes(range.sectors * kSectorSize);
    Parts made = request(queue, VIRTIO_BLK_T_OUT, range.sector);
    scatter_readable(made, data, alignment());
    place_with_status(queue, made, [this, id, data](u8 status, u32 used) {
      const Claim claimed = release(*id);
      require(used == 1);
      require_status(status, claimed);
      if (status != VIRTIO_BLK_S_OK) return;
      require(std::equal(data.begin(), data.end(), bytes_at(claimed.sector)));
      acknowledge(claimed);
    });
    return true;
  }

  bool offer_clear(SimulatedQueue& queue) {
    const bool discard = random.one_in(2);
    if (!negotiated(discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES)) return false;
    const auto id = claim(true);
    if (!id) return false;
    const Claim& range = claims_[*id];
    Parts made = request(queue, discard ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES);
    const u32 flags = !discard && random.one_in(2) ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    add_readable(made,
                 virtio_blk_discard_write_zeroes{
                     .sector = range.sector, .num_sectors = static_cast<u32>(range.sectors), .flags = flags});
    place_with_status(queue, made, [this, id, discard](u8 status, u32 used) {
      const Claim claimed = release(*id);
      require(used == 1);
      if (discard && status == VIRTIO_BLK_S_UNSUPP) return require(host_.lacks_fallocate());
      require_status(status, claimed);
      if (status != VIRTIO_BLK_S_OK) return;
      const auto start = bytes_at(claimed.sector);
      const auto is_zero = [](u8 byte) { return byte == 0; };
      require(discard ||
              std::all_of(start, start + static_cast<i64>(claimed.sectors * kSectorSize), is_zero));
      acknowledge(claimed);
    });
    return true;
  }

  bool offer_flush(SimulatedQueue& queue) {
    Parts made = request(queue, VIRTIO_BLK_T_FLUSH);
    place_with_status(queue, made, [this, earlier = acknowledged_](u8 status, u32 used) {
      require(used == 1);
      if (status == VIRTIO_BLK_S_IOERR) return require(host_.sync_failed());
      require(status == VIRTIO_BLK_S_OK);
      for (u64 sector = 0; sector < kSectors; ++sector) require(host_.durable(sector, earlier[sector]));
    });
    return true;
  }

  bool offer_id(SimulatedQueue& queue) {
    Parts made = request(queue, VIRTIO_BLK_T_GET_ID);
    const GuestAddress text = add_writable(made, VIRTIO_BLK_ID_BYTES);
    place_with_status(queue, made, [this, text](u8 status, u32 used) {
      require(status == VIRTIO_BLK_S_OK && used == VIRTIO_BLK_ID_BYTES + 1);
      require(*ram.memory().read<u8>(text) == 's');
    });
    return true;
  }

  std::vector<u8>::const_iterator bytes_at(u64 sector) const {
    return host_.bytes().begin() + static_cast<i64>(sector * kSectorSize);
  }

  // OK unless the host would not, and an error if so.
  void require_status(u8 status, const Claim& range) const {
    const bool write_through = range.write && !negotiated(VIRTIO_BLK_F_FLUSH);
    const bool may_fail =
        range.failed || range.refusals > kMostRefusals || (write_through && host_.sync_failed());
    require(status == VIRTIO_BLK_S_OK ? !range.failed : status == VIRTIO_BLK_S_IOERR && may_fail);
  }
  void acknowledge(const Claim& range) {
    for (u64 sector = range.sector; sector < range.sector + range.sectors; ++sector) {
      acknowledged_[sector] = host_.version(sector);
      // virtio 1.2, 5.2.6.2: write-through
      require(negotiated(VIRTIO_BLK_F_FLUSH) || host_.durable(sector, acknowledged_[sector]));
    }
  }

  // --- others

  void offer_odd(SimulatedQueue& queue) override {
    u8 expected = VIRTIO_BLK_S_IOERR;
    const u64 unit = block_bytes_ / kSectorSize;
    Parts made = parts(queue);
    switch (random.below(8)) {
      case 0:  // beyond the end, by one block or by any
        made =
            request(queue, VIRTIO_BLK_T_IN, random.pick({kSectors, kSectors - unit, u64{1} << 55, ~u64{0}}));
        scatter_writable(made, 2 * block_bytes_);
        break;
      case 1:
        made = request(queue, VIRTIO_BLK_T_OUT);
        scatter_readable(made, random.bytes(random.between(1, block_bytes_ - 1)));
        break;
      case 2:
        made = request(queue, random.pick<u32>({VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT}));
        break;
      case 3:
        made = request(queue, static_cast<u32>(random.between(100, 1u << 30)));
        expected = VIRTIO_BLK_S_UNSUPP;
        break;
      case 4:
        made = request(queue, VIRTIO_BLK_T_IN);
        made.chain.writes_at(hole_address(), block_bytes_);
        break;
      case 5:
        made = request(queue, VIRTIO_BLK_T_WRITE_ZEROES);
        add_readable(made,
                     virtio_blk_discard_write_zeroes{.sector = kSectors - 1, .num_sectors = 2, .flags = 0});
        if (!read_only_ && !negotiated(VIRTIO_BLK_F_WRITE_ZEROES)) expected = VIRTIO_BLK_S_UNSUPP;
        break;
      case 6:  // no status
        queue.must_break = true;
        add_readable(made, virtio_blk_outhdr{.type = VIRTIO_BLK_T_FLUSH});
        place(queue, made, [](const vring_used_elem&) { require(false); });
        return;
      default:  // no header
        queue.must_break = true;
        add_readable(made, random.bytes(random.below(sizeof(virtio_blk_outhdr))));
        return place_with_status(queue, made, [](u8, u32) { require(false); });
    }
    place_with_status(queue, made,
                      [expected](u8 status, u32 used) { require(status == expected && used <= 1); });
  }

  // --- the host

  Claim* claim_at(const Op& op, u64 bytes) {
    for (auto& [id, claim] : claims_) {
      const u64 start = claim.sector * kSectorSize;
      if (op.offset >= start && op.offset - start + bytes <= claim.sectors * kSectorSize) return &claim;
    }
    return nullptr;
  }

  void check_operations() override {
    host_.notice_syncs(io);
    for (u32 i = 0; i < io.size(); ++i) {
      const Op& op = io.pending(i);
      const bool moves = op.kind == Op::Kind::kReadv || op.kind == Op::Kind::kWritev;
      if (!moves && op.kind != Op::Kind::kFallocate) continue;
      const u64 bytes = moves ? io.length_of(i) : op.length;
      const Claim* const claim = claim_at(op, bytes);
      require(claim && bytes > 0 && claim->write == (op.kind != Op::Kind::kReadv));
      if (direct_ && moves) check_alignment(op);
    }
  }
  void check_alignment(const Op& op) const {
    require(op.offset % block_bytes_ == 0);
    for (const iovec& piece : std::span(static_cast<const iovec*>(op.address), op.count)) {
      require(reinterpret_cast<u64>(piece.iov_base) % 512 == 0 && piece.iov_len % block_bytes_ == 0);
    }
  }

  void end_operation(u32 i, bool well) override {
    const Op& op = io.pending(i);
    if (op.kind == Op::Kind::kTimeout) return io.complete(i, -ETIME);
    if (op.kind == Op::Kind::kNop) return io.complete(i, 0);
    const bool moves = op.kind == Op::Kind::kReadv || op.kind == Op::Kind::kWritev;
    Claim ignored{};
    const bool is_fallocate = op.kind == Op::Kind::kFallocate;
    Claim* const found = moves || is_fallocate ? claim_at(op, moves ? io.length_of(i) : op.length) : &ignored;
    require(found);
    // Noted before the request is answered, which is within the end of its last operation.
    const i32 result = host_.perform(io, i, well);
    const bool refused = result == -EAGAIN || result == -EINTR;
    found->refusals += moves && (refused || result > 0);
    found->failed |= moves && (result == 0 || (result < 0 && !refused));
    found->failed |= is_fallocate && result < 0 && result != -EOPNOTSUPP;
    io.complete(i, result);
  }

  const bool read_only_;
  const bool direct_;
  const u32 block_bytes_;
  Log log_;
  Block block_;
  FakeCard card_{io, block_, ram.memory()};
  DiskHost host_{random, kSectors};
  u64 features_ = 0;
  std::map<ClaimId, Claim> claims_;
  ClaimId last_claim_ = 0;
  std::vector<u64> acknowledged_ = std::vector<u64>(kSectors);
};

}  // namespace

TEST_CASE("simulation: block") {
  simulate<BlockSimulation>("block", 4000);
}

}  // namespace uvmm
