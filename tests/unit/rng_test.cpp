// SPDX-License-Identifier: Apache-2.0
#include "devices/rng.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

u64 made = 0;         // by the source since the test began
int failures = 0;     // that it still has before it
u64 at_most = 4_GiB;  // of one call

ssize_t source(void* buffer, std::size_t bytes, unsigned) {
  if (failures > 0) {
    --failures;
    errno = EAGAIN;
    return -1;
  }
  bytes = std::min<std::size_t>(bytes, at_most);
  std::memset(buffer, 'r', bytes);
  made += bytes;
  return static_cast<ssize_t>(bytes);
}

struct Fixture {
  Fixture() {
    made = 0;
    failures = 0;
    at_most = 4_GiB;
    tasks.spawn(rng.run(queue.queue, 0));
  }
  ~Fixture() {
    queue.queue.stop();
    while (!io.empty()) io.finish_all(-ECANCELED);
    CHECK(tasks.empty());
  }
  void kick() {
    queue.queue.notify();
    io.end_turn();
  }
  // Ends everything that waits for a later turn; how many turns it took.
  int turn() {
    int turns = 0;
    for (; !io.empty(); ++turns) io.finish_all(0);
    return turns;
  }

  FakeIo io;
  FakeDriver driver{64};
  Rng rng{io, source};
  FakeQueue queue{rng.io(), driver};
  TaskScope tasks;
};

TEST_CASE("rng: a buffer is filled") {
  Fixture f;
  const auto at = f.driver.chain().writes(10).writes(6).offer();
  f.kick();
  CHECK(f.driver.take_used()->len == 16);
  CHECK(f.driver.bytes(at[0], 10) == std::vector<u8>(10, 'r'));
  CHECK(f.driver.bytes(at[1], 6) == std::vector<u8>(6, 'r'));
  CHECK(f.rng.device_id() == 4);
}

TEST_CASE("rng: the host's random bytes are not all the same") {
  FakeIo io;
  FakeDriver driver;
  Rng rng(io);
  FakeQueue queue(rng.io(), driver);
  TaskScope tasks;
  tasks.spawn(rng.run(queue.queue, 0));
  const auto at = driver.chain().writes(64).offer();
  queue.queue.notify();
  io.end_turn();
  const auto bytes = driver.bytes(at[0], 64);
  CHECK(std::ranges::count(bytes, bytes[0]) < 32);
  queue.queue.stop();
}

TEST_CASE("[case 141] rng: of a huge request 64 KiB are served") {
  Fixture f;
  auto chain = f.driver.chain();
  for (int i = 0; i < 4; ++i) chain.writes_at(FakeRam::kBoundary, 1_MiB);
  chain.offer();
  f.kick();
  f.turn();
  CHECK(f.driver.take_used()->len == 64_KiB);
  CHECK(made == 64_KiB);
}

TEST_CASE("[case 141] rng: a request without writable buffers has used length 0") {
  Fixture f;
  f.driver.chain().reads(u64{0}).offer();
  f.kick();
  CHECK(f.driver.take_used()->len == 0);
  CHECK(made == 0);
}

TEST_CASE("[case 13] rng: a buffer outside of RAM gets nothing") {
  Fixture f;
  f.driver.chain().writes_at(FakeRam::kEnd - 8, 16).offer();
  f.kick();
  CHECK(f.driver.take_used()->len == 0);
  CHECK(made == 0);
}

TEST_CASE("[case 142] rng: a flood gets one page a turn") {
  Fixture f;
  for (int i = 0; i < 32; ++i) f.driver.chain().writes(1024).offer();
  f.kick();
  CHECK(made == 4_KiB);
  CHECK(f.turn() == 7);  // and the one it came in
  CHECK(made == 32_KiB);
  int served = 0;
  while (f.driver.take_used()) ++served;
  CHECK(served == 32);
}

TEST_CASE("rng: what the source gives in pieces is put together") {
  Fixture f;
  at_most = 256;
  f.driver.chain().writes(1000).offer();
  f.kick();
  CHECK(f.driver.take_used()->len == 1000);
}

TEST_CASE("rng: a host without entropy yet is asked again later") {
  Fixture f;
  failures = 2;
  f.driver.chain().writes(16).offer();
  f.kick();
  CHECK_FALSE(f.driver.take_used());
  CHECK(f.io.pending(0).kind == Op::Kind::kTimeout);
  f.turn();
  CHECK(f.driver.take_used()->len == 16);
}

TEST_CASE("rng: a reset ends a request that waits") {
  Fixture f;
  f.driver.chain().writes(8192).offer();
  f.kick();
  f.queue.queue.stop();
  f.rng.io().cancel_all();
  f.io.finish_cancelled();
  CHECK(f.tasks.empty());
  CHECK(made == 4_KiB);
}

}  // namespace
}  // namespace uvmm
