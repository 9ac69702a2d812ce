// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a split ring whose every byte the driver chooses, and a device that pops, keeps, completes and
// publishes. The input is a small program: each step writes some field of the ring or lets the device act.
#include <vector>

#include "devices/virtio/virtqueue.h"
#include "tests/fuzz/fuzz.h"

using namespace uvmm;

namespace {

constexpr u16 kSize = 8;

// Addresses that matter: the ends of RAM and of its regions, the ring itself, anything.
u64 pick_address(FuzzedDataProvider& input, const FakeDriver& driver) {
  const u64 near = input.ConsumeIntegral<u8>();
  switch (input.ConsumeIntegralInRange(0, 5)) {
    case 0:
      return FakeRam::kStart + near - 16;
    case 1:
      return FakeRam::kBoundary + near - 128;
    case 2:
      return FakeRam::kEnd + near - 128;
    case 3:
      return address(driver.layout.descriptors) + near;
    case 4:
      return u64{0} - near;
    default:
      return input.ConsumeIntegral<u64>();
  }
}

void check(const DescriptorChain& chain) {
  const u64 pieces = chain.readable.iovecs().size() + chain.writable.iovecs().size();
  require(pieces <= 2 * kMaxQueueSize);
  require(chain.readable.size() + chain.writable.size() <= 4_GiB);
}

// Uses a chain as a device does; the sanitizer sees any byte that is not RAM.
void use(DescriptorChain& chain) {
  std::vector<u8> bytes(64);
  chain.readable.copy_out(std::span(bytes).first(std::min<u64>(bytes.size(), chain.readable.size())));
  if (u8* const status = chain.writable.take_last_byte()) *status = 1;
  chain.writable.copy_in(std::span(bytes).first(std::min<u64>(bytes.size(), chain.writable.size())));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FakeDriver driver(kSize);
  FuzzedDataProvider input(data, size);
  Virtqueue::Layout layout = driver.layout;
  layout.size = u16(1) << input.ConsumeIntegralInRange(0, 3);
  std::memset(driver.memory.slice(layout.descriptors, 512)->data(), 0, 512);

  Virtqueue device(driver.memory, layout, input.ConsumeBool() ? kCommonFeatures : 0);
  std::vector<DescriptorChain> in_flight;
  while (input.remaining_bytes() > 0 && !device.broken()) {
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0:
      case 1:
        driver.descriptor(input.ConsumeIntegralInRange<u16>(0, kSize - 1)) = {
            .addr = pick_address(input, driver),
            .len = input.ConsumeBool() ? input.ConsumeIntegralInRange<u32>(0, 9) * 16
                                       : input.ConsumeIntegral<u32>(),
            .flags = input.ConsumeIntegralInRange<u16>(0, 7),
            .next = input.ConsumeIntegralInRange<u16>(0, kSize)};
        break;
      case 2:
        driver.avail_ring(input.ConsumeIntegralInRange<u16>(0, kSize - 1)) =
            input.ConsumeIntegralInRange<u16>(0, kSize);
        break;
      case 3:
        driver.avail_index() = static_cast<u16>(driver.avail_index() + input.ConsumeIntegral<signed char>());
        break;
      case 4:
        if (std::optional<DescriptorChain> chain = device.pop()) {
          check(*chain);
          in_flight.push_back(std::move(*chain));
        }
        break;
      case 5:
        if (!in_flight.empty()) {
          use(in_flight.back());
          in_flight.pop_back();
        }
        break;
      case 6:
        driver.used_event() = input.ConsumeIntegral<u16>();
        device.publish();
        break;
      default:
        input.ConsumeBool() ? void(device.enable_notifications()) : device.disable_notifications();
        break;
    }
    require(device.chains_out() == in_flight.size() && in_flight.size() <= layout.size);
  }
  return 0;
}
