// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a network device with two queue pairs, a driver that asks for anything, and a host that
// answers anything. The input is a small program: each step offers a frame, a buffer or a command, brings a
// frame from the host, ends a host operation, or turns. Whatever happens: the host is given frames with valid
// headers only; what the driver receives are whole frames, in order, in as many buffers as they say; and in
// the end every chain has come back.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "devices/net.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"
#include "tests/fakes/fake_net_end.h"

using namespace uvmm;

namespace {

constexpr u16 kPairs = 2;
constexpr u16 kQueues = 2 * kPairs + 1;
constexpr u16 kRing = 32;
constexpr u64 kHeaderBytes = sizeof(virtio_net_hdr_v1);

void require(bool condition) {
  if (!condition) std::abort();
}

struct World {
  World(FuzzedDataProvider& choices, FakeRam& fake_ram)
      : input(choices),
        ram(fake_ram),
        end(input.ConsumeBool() ? FakeNetEnd::kAllOffloads : 0, kPairs),
        net(io, end, {.name = "fuzz", .mac = {2, 0, 0, 0, 0, 1}, .mtu = 1500}, log) {
    features = FakeDriver::kAllFeatures |
               (net.features() & (input.ConsumeBool() ? ~u64{0} : input.ConsumeIntegral<u64>()));
    for (u16 i = 0; i < kQueues; ++i) {
      drivers.push_back(std::make_unique<FakeDriver>(ram, kRing, features));
      queues.push_back(std::make_unique<FakeQueue>(net.io(), *drivers.back()));
    }
    net.start(features);
    for (u16 i = 0; i < kQueues; ++i) tasks.spawn(net.run(queues[i]->queue, i));
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 8)) {
      case 0:
      case 1:
        offer_frame(input.ConsumeBool() ? 1 : 3);
        break;
      case 2:
      case 3:
        offer_buffer(input.ConsumeBool() ? 0 : 2);
        break;
      case 4:
        offer_command();
        break;
      case 5:
        bring_frame();
        break;
      case 6:
        if (!io.empty()) end_one();
        break;
      case 7:
        end.set_link(input.ConsumeBool());
        break;
      default:
        end.errors[input.ConsumeIntegralInRange(0, kPairs - 1)] = input.ConsumeBool() ? 0 : -EIO;
        end.refuses = input.ConsumeBool();
        break;
    }
    for (const auto& each : queues) each->queue.notify();
    io.end_turn();
    check_operations();
    collect();
  }

  // The driver resets the device at some moment: everything ends.
  void finish() {
    for (const auto& each : queues) each->queue.stop();
    net.io().cancel_all();
    for (int i = 0; i < 10'000 && !io.empty(); ++i) io.finish_all(-ECANCELED);
    require(io.empty() && tasks.empty());
    io.end_turn();
    collect();
    net.reset();
    io.end_turn();
    for (const auto& each : queues) require(each->queue.chains_out() == 0);
    require(net.config()[0] == 2);
  }

 private:
  bool has_space(u16 queue, u16 descriptors, u64 bytes) {
    if (offered[queue] + descriptors > kRing || used_bytes + bytes > 700_KiB) return false;
    offered[queue] = static_cast<u16>(offered[queue] + descriptors);
    used_bytes += bytes;
    return true;
  }
  u16 last_head(FakeDriver& driver) { return driver.avail_ring(u16(driver.avail_index() - 1) & (kRing - 1)); }

  void offer_frame(u16 queue) {
    static constexpr u8 kTypes[] = {VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4,
                                    VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP_L4,
                                    VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN};
    const virtio_net_hdr_v1 header{
        .flags = input.ConsumeIntegralInRange<u8>(0, 3),
        .gso_type = input.ConsumeBool() ? input.PickValueInArray(kTypes) : input.ConsumeIntegral<u8>(),
        .hdr_len = input.ConsumeIntegralInRange<u16>(0, 100),
        .gso_size = input.ConsumeIntegralInRange<u16>(0, 1500),
        .csum_start =
            input.ConsumeBool() ? input.ConsumeIntegralInRange<u16>(0, 100) : input.ConsumeIntegral<u16>(),
        .csum_offset = input.ConsumeBool() ? u16{16} : input.ConsumeIntegral<u16>()};
    const int pieces = input.ConsumeIntegralInRange(0, 3);
    const bool split = input.ConsumeBool();
    const bool writes = input.ConsumeIntegralInRange(0, 31) == 0;
    const auto descriptors = static_cast<u16>((split ? kHeaderBytes : 1) + pieces + writes);
    if (!has_space(queue, descriptors, 64)) return;
    FakeDriver& driver = *drivers[queue];
    auto chain = driver.chain();
    const auto* const bytes = reinterpret_cast<const u8*>(&header);
    if (split) {
      for (u64 i = 0; i < kHeaderBytes; ++i) chain.reads(bytes[i]);
    } else {
      chain.reads(std::span<const u8>(bytes, input.ConsumeIntegralInRange(0, 15) ? kHeaderBytes : 7));
    }
    for (int i = 0; i < pieces; ++i) {
      const bool far = input.ConsumeIntegralInRange(0, 15) == 0;
      const u32 length = input.ConsumeBool() ? input.ConsumeIntegralInRange<u32>(0, 100)
                                             : input.ConsumeIntegralInRange<u32>(0, 70'000);
      chain.reads_at(far ? FakeRam::kEnd - input.ConsumeIntegral<u8>() : FakeRam::kBoundary - 40, length);
    }
    if (writes) chain.writes(1);
    chain.offer();
    outstanding[queue][last_head(driver)] = {descriptors, {}};
  }

  void offer_buffer(u16 queue) {
    const int pieces = input.ConsumeIntegralInRange(1, 4);
    const bool odd = input.ConsumeIntegralInRange(0, 31) == 0;
    if (!has_space(queue, static_cast<u16>(pieces + odd), 8_KiB)) return;
    FakeDriver& driver = *drivers[queue];
    auto chain = driver.chain();
    std::vector<std::pair<GuestAddress, u32>> buffers;
    if (odd && input.ConsumeBool())
      chain.reads(u8{0});
    else if (odd)
      chain.writes_at(FakeRam::kEnd - 3, 100);
    for (int i = 0; i < pieces; ++i) {
      const u32 length = input.ConsumeIntegralInRange<u32>(0, 2000);
      const GuestAddress at = driver.allocate(length);
      chain.writes_at(address(at), length);
      buffers.emplace_back(at, length);
    }
    chain.offer();
    outstanding[queue][last_head(driver)] = {static_cast<u16>(pieces + odd), std::move(buffers)};
  }

  void offer_command() {
    const u16 queue = has_feature(features, VIRTIO_NET_F_MQ) ? kQueues - 1 : 2;
    if (!has_feature(features, VIRTIO_NET_F_CTRL_VQ) || !has_space(queue, 3, 64)) return;
    FakeDriver& driver = *drivers[queue];
    const u8 header[] = {input.ConsumeIntegralInRange<u8>(0, 7), input.ConsumeIntegralInRange<u8>(0, 2)};
    const std::vector<u8> data = input.ConsumeBytes<u8>(input.ConsumeIntegralInRange<std::size_t>(0, 40));
    const bool answered = input.ConsumeIntegralInRange(0, 31) > 0;
    auto chain = driver.chain().reads(std::span<const u8>(header)).reads(std::span<const u8>(data));
    if (answered) chain.writes(1);
    chain.offer();
    outstanding[queue][last_head(driver)] = {3, {}};
  }

  void bring_frame() {
    const auto pair = input.ConsumeIntegralInRange<u16>(0, kPairs - 1);
    const u64 bytes = kHeaderBytes + (input.ConsumeBool() ? input.ConsumeIntegralInRange<u64>(14, 1600)
                                                          : input.ConsumeIntegralInRange<u64>(14, 66'000));
    std::vector<u8> frame(bytes);
    for (u64 i = kHeaderBytes; i < bytes; ++i) frame[i] = static_cast<u8>(number + i);
    ++number;
    brought[pair].push_back(frame);
    end.arriving[pair].push_back(std::move(frame));
    for (u32 i = 0; i < io.size(); ++i)
      if (io.pending(i).kind == Op::Kind::kPoll && io.pending(i).fd == pair) return io.finish(i, POLLIN);
  }

  void end_one() {
    static constexpr i32 kErrors[] = {-EIO, -EBADFD, -EINVAL, -ENOBUFS, -ENETDOWN, -ECANCELED};
    const u32 i = input.ConsumeIntegralInRange<u32>(0, io.size() - 1);
    const bool fails = input.ConsumeIntegralInRange(0, 3) == 0;
    io.finish(i, fails ? input.PickValueInArray(kErrors) : 1);
  }

  void check_operations() {
    for (u32 i = 0; i < io.size(); ++i) {
      if (io.pending(i).kind != Op::Kind::kWritev) continue;
      const auto* const pieces = static_cast<const iovec*>(io.pending(i).address);
      require(pieces[0].iov_len == kHeaderBytes);
      virtio_net_hdr_v1 header;
      std::memcpy(&header, pieces[0].iov_base, sizeof header);
      require(valid_net_header(header, io.length_of(i) - kHeaderBytes, features));
      for (u32 k = 0; k < io.pending(i).count; ++k) require(pieces[k].iov_base != nullptr);
    }
  }

  void collect() {
    for (u16 queue = 0; queue < kQueues; ++queue) {
      while (const auto used = drivers[queue]->take_used()) {
        const auto chain = outstanding[queue].find(static_cast<u16>(used->id));
        require(chain != outstanding[queue].end());
        offered[queue] = static_cast<u16>(offered[queue] - chain->second.descriptors);
        if (!chain->second.buffers.empty() && used->len > 0)
          take_received(queue, chain->second.buffers, used->len);
        outstanding[queue].erase(chain);
      }
    }
  }

  using Buffers = std::vector<std::pair<GuestAddress, u32>>;
  void take_received(u16 queue, const Buffers& buffers, u32 bytes) {
    std::vector<u8>& frame = partial[queue];
    for (const auto& [at, length] : buffers) {
      const u32 part = std::min(bytes, length);
      const auto piece = drivers[queue]->bytes(at, part);
      frame.insert(frame.end(), piece.begin(), piece.end());
      bytes -= part;
    }
    require(bytes == 0);
    require(frame.size() >= kHeaderBytes);
    u16 count;
    std::memcpy(&count, frame.data() + 10, sizeof count);
    require(count >= 1);
    require(count == 1 || has_feature(features, VIRTIO_NET_F_MRG_RXBUF));
    if (++buffers_taken[queue] < count) return;
    require(buffers_taken[queue] == count);
    frame[10] = frame[11] = 0;
    std::deque<std::vector<u8>>& expected = brought[queue / 2];
    while (!expected.empty() && expected.front() != frame) expected.pop_front();  // dropped ones
    require(!expected.empty());
    expected.pop_front();
    frame.clear();
    buffers_taken[queue] = 0;
  }

  struct Chain {
    u16 descriptors;
    Buffers buffers;
  };

  FuzzedDataProvider& input;
  FakeRam& ram;
  u64 features = 0;
  Log log;
  FakeIo io;
  FakeNetEnd end;
  Net net;
  std::vector<std::unique_ptr<FakeDriver>> drivers;
  std::vector<std::unique_ptr<FakeQueue>> queues;
  TaskScope tasks;
  std::map<u16, Chain> outstanding[kQueues];
  u16 offered[kQueues] = {};
  u64 used_bytes = 0;
  u8 number = 0;
  std::deque<std::vector<u8>> brought[kPairs];
  std::vector<u8> partial[kQueues];
  u16 buffers_taken[kQueues] = {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FakeRam ram;
  ram.recycle();
  FuzzedDataProvider input(data, size);
  World world(input, ram);
  while (input.remaining_bytes() > 0) world.step();
  world.finish();
  return 0;
}
