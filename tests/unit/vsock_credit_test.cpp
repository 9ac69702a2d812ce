// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_credit.h"

#include <catch2/catch.hpp>

namespace uvmm {
namespace {

constexpr u32 kWindow = VsockCredit::kWindow;

TEST_CASE("vsock credit: the guest's room is its buffer less what is on its way") {
  VsockCredit credit;
  CHECK(credit.guest_room() == 0);
  credit.guest_says(1000, 0);
  credit.sent(300);
  CHECK(credit.guest_room() == 700);
  credit.guest_says(1000, 300);
  CHECK(credit.guest_room() == 1000);
}

TEST_CASE("[case 128] vsock credit: nonsense of the guest's is no room") {
  VsockCredit credit;
  credit.guest_says(1000, 0);
  credit.sent(500);
  credit.guest_says(400, 0);
  CHECK(credit.guest_room() == 0);
  credit.guest_says(1000, u32(0) - 1);
  CHECK(credit.guest_room() == 499);
  credit.guest_says(1000, 501);
  CHECK(credit.guest_room() == 0);
}

TEST_CASE("vsock credit: the counters wrap around") {
  VsockCredit credit;
  credit.guest_says(1000, 0);
  for (u32 i = 0; i < 5; ++i) {
    credit.sent(0x4000'0000);
    credit.guest_says(1000, (i + 1) * 0x4000'0000);
    CHECK(credit.guest_room() == 1000);
  }
  for (u64 i = 0; i < (u64{1} << 33) / kWindow; ++i) {
    REQUIRE(credit.received(kWindow));
    credit.forwarded(kWindow);
  }
  CHECK(credit.received(kWindow));
  CHECK_FALSE(credit.received(1));
}

TEST_CASE("[case 129] vsock credit: no more is taken than the window") {
  VsockCredit credit;
  CHECK_FALSE(credit.received(kWindow + 1));
  CHECK_FALSE(credit.received(0xffff'ffff));
  CHECK(credit.received(kWindow - 1));
  CHECK_FALSE(credit.received(2));
  CHECK(credit.received(1));
  CHECK(credit.kept() == kWindow);
}

TEST_CASE("vsock credit: half a window is worth telling") {
  VsockCredit credit;
  REQUIRE(credit.received(kWindow));
  credit.forwarded(kWindow / 2 - 1);
  CHECK_FALSE(credit.update_due());
  credit.forwarded(1);
  CHECK(credit.update_due());
  virtio_vsock_hdr header{};
  credit.tell(header);
  CHECK(header.buf_alloc == kWindow);
  CHECK(header.fwd_cnt == kWindow / 2);
  CHECK_FALSE(credit.update_due());
}

}  // namespace
}  // namespace uvmm
