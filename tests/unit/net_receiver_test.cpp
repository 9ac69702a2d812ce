// SPDX-License-Identifier: Apache-2.0
#include "devices/net_receiver.h"

#include <catch2/catch.hpp>

#include "tests/fakes/net_fixture.h"

namespace uvmm {
namespace {

constexpr u64 kHeader = NetFixture::kHeaderBytes;
constexpr u64 kPlain = FakeDriver::kAllFeatures;  // without merged buffers
constexpr u64 kLarge = NetFixture::kBasic | kNetGuestOffloads;

std::vector<u8> frame(u64 bytes) {
  return NetFixture::frame(bytes);
}
std::vector<u8> content(const std::vector<u8>& whole, u64 from = 0) {
  return NetFixture::content(whole, from);
}

TEST_CASE("net: a frame is put straight into the driver's buffer") {
  NetFixture f;
  const auto at = f.post(1526);
  f.arrive(frame(60));
  CHECK(f.receiver().take_used()->len == kHeader + 60);
  CHECK(f.receiver().bytes(at + kHeader, 60) == content(frame(60)));
  CHECK(f.num_buffers(at) == 1);
  CHECK(f.queues[0]->interrupt.raised == 1);
}

TEST_CASE("net: frames that are there together are one interrupt") {
  NetFixture f;
  for (int i = 0; i < 8; ++i) f.post(1526);
  for (int i = 0; i < 7; ++i) f.end.arriving[0].push_back(frame(60));
  f.arrive(frame(60));
  for (int i = 0; i < 8; ++i) CHECK(f.receiver().take_used()->len == kHeader + 60);
  CHECK(f.queues[0]->interrupt.raised == 1);
}

TEST_CASE("net: without a buffer the host is not asked for frames") {
  NetFixture f;
  CHECK(f.end.receives == 1);  // for what was there before the driver
  f.arrive(frame(60));
  CHECK(f.end.receives == 1);
  f.post(1526);
  CHECK(f.receiver().take_used()->len == kHeader + 60);
}

TEST_CASE("net: what the host had before the driver started is thrown away") {
  FakeIo io;
  FakeNetEnd end;
  Log log;
  Net net(io, end, {.name = "net"}, log);
  end.arriving[0].assign(3, frame(60));
  net.start(NetFixture::kBasic);
  CHECK(end.arriving[0].empty());
  net.reset();
}

TEST_CASE("[case 76] net: with mergeable buffers a frame takes as many as it needs, and says how many") {
  const auto [bytes, buffers] = GENERATE(table<u64, u16>({{88, 1}, {89, 2}, {188, 2}, {189, 3}, {1522, 16}}));
  NetFixture f(NetFixture::kBasic);
  std::vector<GuestAddress> at;
  for (int i = 0; i < 20; ++i) at.push_back(f.post(100));
  f.arrive(frame(bytes));
  u64 sum = 0;
  std::vector<u8> got;
  for (u16 i = 0; i < buffers; ++i) {
    const auto used = f.receiver().take_used();
    REQUIRE(used);
    sum += used->len;
    const auto part = f.receiver().bytes(at[i], used->len);
    got.insert(got.end(), part.begin(), part.end());
  }
  CHECK(sum == kHeader + bytes);
  CHECK_FALSE(f.receiver().take_used());
  CHECK(f.num_buffers(at[0]) == buffers);
  CHECK(content(got) == content(frame(bytes)));
}

TEST_CASE("net: buffers that a frame leaves over take the next one") {
  NetFixture f;
  std::vector<GuestAddress> at;
  for (int i = 0; i < 20; ++i) at.push_back(f.post(100));
  f.arrive(frame(150));
  f.arrive(frame(20));
  CHECK(f.receiver().take_used());
  CHECK(f.receiver().take_used());
  CHECK(f.receiver().take_used()->len == kHeader + 20);
  CHECK(f.num_buffers(at[2]) == 1);
}

TEST_CASE("[case 76] net: a frame longer than all posted buffers waits for more") {
  NetFixture f(kLarge);
  std::vector<GuestAddress> at;
  for (int i = 0; i < 4; ++i) at.push_back(f.post(1000));
  f.arrive(frame(9000));
  CHECK_FALSE(f.receiver().take_used());
  for (int i = 0; i < 5; ++i) at.push_back(f.post(1000));
  CHECK_FALSE(f.receiver().take_used());
  at.push_back(f.post(1000));
  std::vector<u8> got;
  for (const GuestAddress& each : at) {
    const auto used = f.receiver().take_used();
    REQUIRE(used);
    const auto part = f.receiver().bytes(each, used->len);
    got.insert(got.end(), part.begin(), part.end());
  }
  CHECK(got.size() == kHeader + 9000);
  CHECK(f.num_buffers(at[0]) == 10);
  CHECK(content(got) == content(frame(9000)));
}

TEST_CASE("net: where frames are short, few buffers are handed over, and a long frame fits nevertheless") {
  constexpr u32 kBytes = 3000, kBuffers = 31;
  NetFixture f(kLarge);
  const GuestAddress start = f.ram.allocate(kBuffers * kBytes);
  u32 posted = 0, taken = 0;
  const auto at = [&](u32 i) { return start + u64{i % kBuffers} * kBytes; };
  const auto post = [&] {
    f.receiver().chain().writes_at(static_cast<u64>(at(posted++)), kBytes).offer();
    f.kick(0);
  };
  while (posted < kBuffers) post();
  f.arrive(frame(60));
  CHECK(f.end.pieces == 22 + 1);  // for 64 KiB, and ours is the last
  for (; taken < 500; ++taken) {
    REQUIRE(f.receiver().take_used());
    post();
    f.arrive(frame(60));
  }
  CHECK(f.end.pieces == 1 + 1);
  REQUIRE(f.receiver().take_used());
  ++taken;
  f.arrive(frame(65'000));
  std::vector<u8> got;
  while (const auto used = f.receiver().take_used()) {
    const auto part = f.receiver().bytes(at(taken++), used->len);
    got.insert(got.end(), part.begin(), part.end());
  }
  CHECK(content(got) == content(frame(65'000)));
}

TEST_CASE("[case 76] net: a frame that a full ring cannot hold is dropped, and the next one is not") {
  NetFixture f(kLarge, 1, 8);
  for (int i = 0; i < 8; ++i) f.post(100);
  f.arrive(frame(2000));
  CHECK_FALSE(f.receiver().take_used());
  f.arrive(frame(60));
  CHECK(f.receiver().take_used()->len == kHeader + 60);
  REQUIRE(f.lines.size() == 1);
  CHECK(f.lines[0].find("were dropped") == std::string::npos);
  CHECK(f.lines[0].find("2012 bytes") != std::string::npos);
}

TEST_CASE("[case 76] net: without mergeable buffers a frame longer than one is dropped") {
  NetFixture f(kPlain);
  const auto at = f.post(100);
  f.post(100);
  f.arrive(frame(89));
  CHECK_FALSE(f.receiver().take_used());
  f.arrive(frame(88));
  CHECK(f.receiver().take_used()->len == 100);
  CHECK(f.num_buffers(at) == 1);
}

TEST_CASE("net: a buffer of several pieces, the header split over the first ones") {
  const u64 features = GENERATE(kPlain, NetFixture::kBasic);
  NetFixture f(features);
  auto chain = f.receiver().chain();
  for (int i = 0; i < 12; ++i) chain.writes(1);
  const auto at = chain.writes(30).writes(1500).offer();
  f.kick(0);
  f.arrive(frame(60));
  CHECK(f.receiver().take_used()->len == kHeader + 60);
  CHECK(*f.receiver().memory.read<u8>(at[10]) == 1);
  CHECK(*f.receiver().memory.read<u8>(at[11]) == 0);
  CHECK(f.receiver().bytes(at[13], 30) == content(frame(60), 30));
}

TEST_CASE(
    "[case 78] net: a receive buffer that cannot be written to needs a reset, and no frame is lost to it") {
  const int what = GENERATE(0, 1, 2, 3);
  NetFixture f;
  auto chain = f.receiver().chain();
  if (what == 0) chain.reads(u64{0}).reads(u64{0});
  if (what == 1) chain.writes_at(FakeRam::kEnd - 8, 100);
  if (what == 2) chain.reads(u64{0}).writes(100);
  if (what == 3) chain.writes(kHeader - 1);
  chain.offer();
  f.kick(0);
  CHECK(f.queues[0]->listener.broke == 1);
  f.arrive(frame(60));
  CHECK(f.end.arriving[0].size() == 1);
}

TEST_CASE("[case 77] net: a receive ring that is empty under a flood resumes with the first buffer") {
  NetFixture f;
  f.post(1526);
  for (int i = 0; i < 1000; ++i) f.end.arriving[0].push_back(frame(60));
  f.arrive(frame(60));
  CHECK(f.receiver().take_used());
  const u64 before = f.end.receives;
  CHECK(f.io.empty());  // nothing is waited for, nothing is asked
  CHECK(f.end.receives == before);
  f.post(1526);
  CHECK(f.receiver().take_used()->len == kHeader + 60);
}

TEST_CASE("net: a flood from the host lets others run after 64 frames") {
  NetFixture f(NetFixture::kBasic, 1, 256);
  for (int i = 0; i < 100; ++i) f.receiver().chain().writes(100).offer();
  f.kick(0);
  for (int i = 0; i < 99; ++i) f.end.arriving[0].push_back(frame(60));
  f.arrive(frame(60));
  CHECK(f.receiver().used_index() == 64);
  REQUIRE(f.io.find(Op::Kind::kNop) < f.io.size());
  f.io.finish(f.io.find(Op::Kind::kNop), 0);
  CHECK(f.receiver().used_index() == 100);
}

TEST_CASE("[case 81] net: a host that cannot be received from is asked less and less often") {
  const i32 error = GENERATE(-EIO, -EBADFD, -ENETDOWN);
  NetFixture f;
  f.post(1526);
  f.end.errors[0] = error;
  f.arrive(frame(60));
  const u64 before = f.end.receives;
  u64 waited = 0;
  for (int i = 0; i < 10; ++i) {
    const u32 sleep = f.io.find(Op::Kind::kTimeout);
    REQUIRE(sleep < f.io.size());
    waited += f.io.pending(sleep).length;
    f.io.finish(sleep, -ETIME);
  }
  CHECK(f.end.receives == before + 10);
  CHECK(waited > 2'000'000'000);
  CHECK(f.io.pending(f.io.find(Op::Kind::kTimeout)).length <= 1'000'000'000);
  CHECK(f.lines.size() == 1);
  f.end.errors[0] = 0;
  f.io.finish(f.io.find(Op::Kind::kTimeout), -ETIME);
  CHECK(f.receiver().take_used()->len == kHeader + 60);
}

TEST_CASE("net: an error of the wait for frames is one like the others") {
  NetFixture f;
  f.post(1526);
  f.io.finish(f.io.find(Op::Kind::kPoll), -EIO);
  CHECK(f.io.find(Op::Kind::kTimeout) < f.io.size());
}

TEST_CASE("net: a reset while a frame waits for buffers gives all of them back") {
  NetFixture f(kLarge);
  f.post(1000);
  f.arrive(frame(5000));
  CHECK(f.queue(0).chains_out() == 1);
  f.stop();
  f.net.reset();
  CHECK(f.tasks.empty());
  CHECK(f.queue(0).chains_out() == 0);
}

}  // namespace
}  // namespace uvmm
