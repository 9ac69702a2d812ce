// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a disk that the embedding program serves, which answers late, out of order, with any number
// for an error, within the call, or from another thread. Whatever happens: it is asked for whole sectors
// within the disk only, and for no write to one that is read-only; no read is called good whose bytes it did
// not give; and in the end every request has its answer.
#include <climits>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "devices/block.h"
#include "tests/fakes/fake_io.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/embedded_disk.h"

using namespace uvmm;

namespace {

constexpr u64 kSectors = 64;
constexpr u16 kRing = 64;
constexpr int kMostRounds = 10'000;

u8 content(u64 offset) {
  return static_cast<u8>(offset * 0x9e37'79b9 >> 16);
}

// One thread for all inputs, which completes a request while the caller waits.
class OtherThread {
 public:
  void complete(DiskRequest& request, int error) {
    std::unique_lock lock(mutex_);
    request_ = &request;
    error_ = error;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !request_; });
  }

 private:
  [[noreturn]] void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return request_; });
      request_->complete(error_);
      request_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  DiskRequest* request_ = nullptr;
  int error_ = 0;
  std::thread thread_{[this] { run(); }};
};

OtherThread& other_thread() {
  static OtherThread& thread = *new OtherThread;  // lives as long as the process
  return thread;
}

class FuzzDisk final : public Disk {
 public:
  FuzzDisk(FuzzedDataProvider& choices, bool read_only) : input_(choices), read_only_(read_only) {}

  std::uint64_t bytes() const override { return kSectors * kSectorSize; }
  void submit(DiskRequest& request) override {
    check(request);
    if (input_.ConsumeIntegralInRange(0, 7) == 7) return complete(request, input_.ConsumeBool());
    requests_.push_back(&request);
  }

  bool idle() const { return requests_.empty(); }
  void complete_one(bool well) {
    const auto which = input_.ConsumeIntegralInRange<std::size_t>(0, requests_.size() - 1);
    DiskRequest& request = *requests_[which];
    requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(which));
    complete(request, well);
  }

 private:
  void check(const DiskRequest& request) const {
    u64 bytes = 0;
    for (const iovec& buffer : request.buffers) bytes += buffer.iov_len;
    require((request.kind == DiskRequest::Kind::kFlush) == (bytes == 0));
    require(request.offset % kSectorSize == 0 && bytes % kSectorSize == 0);
    require(bytes <= this->bytes() && request.offset <= this->bytes() - bytes);
    require(!read_only_ || request.kind != DiskRequest::Kind::kWrite);
  }

  void complete(DiskRequest& request, bool well) {
    static constexpr int kErrors[] = {EIO,  ENOSPC, EAGAIN, EINTR, ECANCELED, EOPNOTSUPP, EINVAL,
                                      -EIO, -1,     -512,   4096,  INT_MAX,   INT_MIN};
    const int error = well ? 0 : input_.PickValueInArray(kErrors);
    if (error == 0) move_bytes(request);
    if (input_.ConsumeIntegralInRange(0, 15) == 15) return other_thread().complete(request, error);
    request.complete(error);
  }

  // The content never changes.
  void move_bytes(const DiskRequest& request) {
    u64 at = request.offset;
    for (const iovec& buffer : request.buffers) {
      u8* const bytes = static_cast<u8*>(buffer.iov_base);
      for (u64 i = 0; i < buffer.iov_len; ++i, ++at) {
        if (request.kind == DiskRequest::Kind::kRead) bytes[i] = content(at);
        if (request.kind == DiskRequest::Kind::kWrite) sum_ = static_cast<u8>(sum_ + bytes[i]);
      }
    }
  }

  FuzzedDataProvider& input_;
  const bool read_only_;
  u8 sum_ = 0;
  std::vector<DiskRequest*> requests_;  // that wait
};

struct World {
  World(FuzzedDataProvider& choices, FakeRam& ram)
      : input(choices), read_only(input.ConsumeBool()), disk(input, read_only), driver(ram, kRing) {
    const u64 wanted = input.ConsumeBool() ? ~u64{0} : input.ConsumeIntegral<u64>();
    block.start(block.features() & wanted);
    tasks.spawn(block.run(queue.queue, 0));
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0:
      case 1:
      case 2:
        offer();
        break;
      case 3:
      case 4:
        if (!disk.idle()) disk.complete_one(input.ConsumeIntegralInRange(0, 3) > 0);
        break;
      case 5:
        wake(input.ConsumeBool());
        break;
      case 6:
        end_pauses();
        break;
      default:
        queue.queue.notify();
        break;
    }
    io.end_turn();
    collect();
  }

  // The driver resets the device at some moment, or is patient.
  void finish() {
    if (input.ConsumeBool()) {
      queue.queue.stop();
      block.io().cancel_all();
    }
    for (int i = 0; i < kMostRounds && !is_done(); ++i) {
      if (!disk.idle()) disk.complete_one(true);
      wake(true);
      io.finish_cancelled();
      end_pauses();
      io.end_turn();
      collect();
    }
    require(is_done());
    queue.queue.stop();
    io.end_turn();
    collect();
    require(tasks.empty());
    door->close();
    io.finish_cancelled();
    require(io.empty());
    require(queue.queue.chains_out() == 0);
  }

 private:
  bool is_done() { return disk.idle() && door->idle() && block.io().idle(); }

  // The eventfd is heard of; the kernel may end a multishot operation by that.
  void wake(bool goes_on) {
    const u32 i = io.find(Op::Kind::kPollMultishot);
    if (i == io.size()) return;
    if (goes_on) {
      io.fire(i, POLLIN);
    } else {
      io.finish(i, POLLIN);
    }
  }
  // Between one attempt and the next.
  void end_pauses() {
    for (u32 i = io.find(Op::Kind::kTimeout); i < io.size(); i = io.find(Op::Kind::kTimeout))
      io.finish(i, -ETIME);
  }

  void offer() {
    static constexpr u32 kTypes[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
                                     VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_DISCARD};
    const u32 type = input.PickValueInArray(kTypes);
    const u64 sector = input.ConsumeIntegralInRange<u64>(0, kSectors);
    const int pieces = input.ConsumeIntegralInRange(0, 3);
    if (offered_descriptors + pieces + 3 > kRing || used_bytes > 500_KiB) return;
    Request request{.descriptors = static_cast<u16>(2), .sector = sector};
    auto chain = driver.chain();
    chain.reads(virtio_blk_outhdr{.type = type, .ioprio = 0, .sector = sector});
    if (type == VIRTIO_BLK_T_WRITE_ZEROES || type == VIRTIO_BLK_T_DISCARD) {
      chain.reads(virtio_blk_discard_write_zeroes{
          .sector = sector, .num_sectors = input.ConsumeIntegralInRange<u32>(0, 9), .flags = 0});
      ++request.descriptors;
    }
    for (int i = 0; i < pieces && (type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_OUT); ++i) {
      const u32 length = input.ConsumeBool() ? input.ConsumeIntegralInRange<u32>(0, 4) * 512
                                             : input.ConsumeIntegralInRange<u32>(0, 1100);
      ++request.descriptors;
      if (type == VIRTIO_BLK_T_OUT) {
        chain.reads_at(FakeRam::kBoundary + input.ConsumeIntegral<u16>(), length);
        continue;
      }
      const GuestAddress at = driver.allocate(length);
      chain.writes_at(address(at), length);
      request.read.emplace_back(at, length);
      used_bytes += length;
    }
    request.status = chain.writes(1).offer().back();
    used_bytes += 64;
    offered_descriptors = static_cast<u16>(offered_descriptors + request.descriptors);
    outstanding[driver.avail_ring(u16(driver.avail_index() - 1) & (kRing - 1))] = std::move(request);
  }

  void collect() {
    while (const auto used = driver.take_used()) {
      const auto found = outstanding.find(static_cast<u16>(used->id));
      require(found != outstanding.end());
      const Request& request = found->second;
      const u8 status = *driver.memory.read<u8>(request.status);
      require(status <= VIRTIO_BLK_S_UNSUPP || (queue.queue.stopped() && status == FakeRam::kFill));
      if (status == VIRTIO_BLK_S_OK) check_read(request);
      offered_descriptors = static_cast<u16>(offered_descriptors - request.descriptors);
      outstanding.erase(found);
    }
  }

  struct Request {
    u16 descriptors;
    u64 sector;
    GuestAddress status{};
    std::vector<std::pair<GuestAddress, u32>> read{};  // buffers that nothing else writes to
  };

  void check_read(const Request& request) const {
    u64 offset = request.sector * kSectorSize;
    for (const auto& [at, length] : request.read)
      for (const u8 byte : driver.bytes(at, length)) require(byte == content(offset++));
  }

  FuzzedDataProvider& input;
  const bool read_only;
  Log log;
  FakeIo io;
  FuzzDisk disk;
  std::unique_ptr<EmbeddedDisk> door =
      *EmbeddedDisk::create(io, {.path = "fuzz", .read_only = read_only, .disk = &disk});
  FakeDriver driver;
  Block block{*door, door->image(), {.serial = "serial"}, log};
  FakeQueue queue{block.io(), driver};
  TaskScope tasks;
  std::map<u16, Request> outstanding;  // by head
  u16 offered_descriptors = 0;
  u64 used_bytes = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run_program<World>(data, size);
  return 0;
}
