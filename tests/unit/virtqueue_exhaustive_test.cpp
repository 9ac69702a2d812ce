// SPDX-License-Identifier: Apache-2.0
// Every ring that there is, of a few entries.
#include "devices/virtio/virtqueue.h"

#include <catch2/catch.hpp>

#include "tests/unit/virtqueue_fixture.h"

namespace uvmm {
namespace {

// All there is to vary about a descriptor, for a ring of `size`.
std::vector<vring_desc> variants(u16 size) {
  std::vector<vring_desc> all;
  for (u16 flags = 0; flags < 8; ++flags) {
    const u16 nexts = flags & VRING_DESC_F_NEXT ? size + 1 : 1;
    for (u16 next = 0; next < nexts; ++next)
      for (const u32 length : {0u, 16u, 32u})
        all.push_back({.addr = FakeRam::kStart, .len = length, .flags = flags, .next = next});
  }
  return all;
}

// Every `stride`-th ring of `size` that these variants make, with the descriptor table at the start of RAM,
// where the indirect descriptors point, too: each ends in a chain or a broken ring.
u64 check_all_rings(u16 size, u64 features, u64 stride) {
  FakeDriver driver(size, features);
  const std::vector<vring_desc> all = variants(size);
  u64 total = 1;
  for (u16 i = 0; i < size; ++i) total *= all.size();
  u64 wrong = 0, served = 0;
  for (u64 which = 0; which < total; which += stride) {
    u64 rest = which;
    for (u16 i = 0; i < size; ++i, rest /= all.size()) driver.descriptor(i) = all[rest % all.size()];
    driver.avail_index() = 1;
    Virtqueue device(driver.memory, driver.layout, features);
    std::optional<DescriptorChain> chain = device.pop();
    served += chain.has_value();
    wrong += chain.has_value() == device.broken();
    if (chain)
      wrong += chain->readable.iovecs().size() + chain->writable.iovecs().size() > std::max<u16>(size, 2);
  }
  CHECK(served > 0);
  return wrong;
}

TEST_CASE("virtqueue: every ring of size 1 and 2 ends in a request or a broken ring") {
  CHECK(check_all_rings(1, kCommonFeatures, 1) == 0);
  CHECK(check_all_rings(2, kCommonFeatures, 1) == 0);
  CHECK(check_all_rings(2, kPlain, 1) == 0);
}

TEST_CASE("virtqueue: each 101st ring of size 4 ends in a request or a broken ring") {
  CHECK(check_all_rings(4, kCommonFeatures, 101) == 0);
}

TEST_CASE("virtqueue: every ring of size 4 ends in a request or a broken ring", "[.long]") {
  CHECK(check_all_rings(4, kCommonFeatures, 1) == 0);
  CHECK(check_all_rings(4, kPlain, 1) == 0);
}

}  // namespace
}  // namespace uvmm
