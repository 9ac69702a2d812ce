// SPDX-License-Identifier: Apache-2.0
#include "devices/console.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

constexpr int kInputFd = 1000;  // the fake door asks nothing of them
constexpr int kOutputFd = 1001;

struct FakeListener final : ConfigChangeListener {
  void config_changed() override { ++changes; }
  int changes = 0;
};

// A console between a driver and two streams, both queues running.
struct Fixture {
  Fixture() {
    console.set_listener(&listener);
    tasks.spawn(console.run(input.queue, Console::kReceiveQueue));
    tasks.spawn(console.run(output.queue, Console::kTransmitQueue));
    end->start();
  }
  ~Fixture() {
    input.queue.stop();
    output.queue.stop();
    end->close();
    while (!io.empty()) io.finish_all(-ECANCELED);
    CHECK(tasks.empty());
    CHECK(end->closed());
  }

  void print(std::string_view text) {
    transmitter.chain().reads(std::span(reinterpret_cast<const u8*>(text.data()), text.size())).offer();
    output.queue.notify();
    io.end_turn();
  }
  GuestAddress post(u32 bytes) {
    const auto at = receiver.chain().writes(bytes).offer();
    input.queue.notify();
    io.end_turn();
    return at[0];
  }
  void type(std::string_view text) {
    io.finish(io.find(Op::Kind::kPoll), POLLIN);
    io.finish_read(io.find(Op::Kind::kRead), {reinterpret_cast<const u8*>(text.data()), text.size()});
  }
  std::string written() {
    const auto bytes = io.bytes_of(io.find(Op::Kind::kWrite));
    return {bytes.begin(), bytes.end()};
  }
  // As many turns as the device asks for.
  void take_turns() {
    while (io.find(Op::Kind::kNop) < io.size()) io.finish(io.find(Op::Kind::kNop), 0);
  }
  // The host takes all that waits; how much that was.
  u64 write_all() {
    u64 total = 0;
    while (!io.empty()) {
      const u64 bytes = io.length_of(0);
      total += bytes;
      io.finish(0, static_cast<i32>(bytes));
    }
    return total;
  }
  std::string text(GuestAddress at, u64 bytes) {
    const auto content = receiver.bytes(at, bytes);
    return {content.begin(), content.end()};
  }

  Log log;
  FakeIo io;
  FakeListener listener;
  std::unique_ptr<ConsoleEnd> end = *ConsoleEnd::open(
      io, {.kind = ConsoleConfig::Kind::kStreams, .input_fd = kInputFd, .output_fd = kOutputFd}, log);
  Console console{io, *end, log};
  FakeRam ram;
  FakeDriver receiver{ram};
  FakeDriver transmitter{ram, 64};
  FakeQueue input{console.io(), receiver};
  FakeQueue output{console.io(), transmitter};
  TaskScope tasks;
};

TEST_CASE("console: what the guest prints is complete at once and goes to the host") {
  Fixture f;
  f.print("hello\r\n");
  CHECK(f.transmitter.take_used()->len == 0);
  CHECK(f.written() == "hello\r\n");
}

TEST_CASE("console: output of several requests is one stream") {
  Fixture f;
  f.print("a");
  f.print("b");
  f.print("c");
  CHECK(f.io.size() == 1);
  f.io.finish(0, 1);
  CHECK(f.written() == "bc");
}

TEST_CASE("console: a driver that starts is told of the size that has been set before") {
  Fixture f;
  CHECK(f.listener.changes == 0);
  f.console.resize(132, 50);
  CHECK(f.listener.changes == 1);
  FakeRam ram;
  FakeDriver again{ram};
  FakeQueue queue{f.console.io(), again};
  f.tasks.spawn(f.console.run(queue.queue, Console::kReceiveQueue));
  CHECK(f.listener.changes == 2);
  queue.queue.stop();
}

TEST_CASE("console: what is typed fills the guest's buffer") {
  Fixture f;
  const auto at = f.post(16);
  f.type("ls\r");
  CHECK(f.receiver.take_used()->len == 3);
  CHECK(f.text(at, 3) == "ls\r");
  CHECK(f.input.interrupt.raised == 1);
}

TEST_CASE("console: more than one buffer holds goes into the next ones") {
  Fixture f;
  const auto first = f.post(4);
  const auto second = f.post(4);
  f.type("abcdefghij");
  CHECK(f.text(first, 4) == "abcd");
  CHECK(f.text(second, 4) == "efgh");
  const auto third = f.post(4);
  CHECK(f.text(third, 2) == "ij");
}

TEST_CASE("[case 137] console: nothing is read that the guest has no buffer for") {
  Fixture f;
  CHECK(f.io.empty());
  f.post(1);
  f.type("abc");
  CHECK(f.io.empty());  // two bytes wait here, the others at the host
  f.post(1);
  CHECK(f.io.empty());
  f.post(1);
  CHECK(f.io.empty());
  f.post(1);
  CHECK(f.io.find(Op::Kind::kPoll) == 0);
}

TEST_CASE("[case 136] console: a host that does not read costs the guest output, not time") {
  Fixture f;
  const std::string block(16_KiB, 'x');
  const auto data = f.ram.allocate(16_KiB);
  u64 completed = 0;
  for (int i = 0; i < 1000; ++i) {
    f.transmitter.chain().reads_at(address(data), 16_KiB).offer();
    f.output.queue.notify();
    f.io.end_turn();
    f.take_turns();
    while (f.transmitter.take_used()) ++completed;
  }
  CHECK(completed == 1000);
  CHECK(f.write_all() == ConsoleEnd::kOutputBytes);
}

TEST_CASE("console: a request longer than all there is room for is cut") {
  Fixture f;
  auto chain = f.transmitter.chain();
  for (int i = 0; i < 32; ++i) chain.reads_at(FakeRam::kStart, 1_MiB);
  chain.offer();
  f.output.queue.notify();
  f.io.end_turn();
  f.take_turns();
  CHECK(f.transmitter.take_used());
  CHECK(f.write_all() == ConsoleEnd::kOutputBytes);
}

TEST_CASE("[case 136] console: a guest that prints without end lets others run after 64 KiB") {
  Fixture f;
  const auto data = f.ram.allocate(40_KiB);
  for (int i = 0; i < 4; ++i) f.transmitter.chain().reads_at(address(data), 40_KiB).offer();
  f.output.queue.notify();
  f.io.end_turn();
  CHECK(f.transmitter.used_index() == 1);
  REQUIRE(f.io.find(Op::Kind::kNop) < f.io.size());
  f.io.finish(f.io.find(Op::Kind::kNop), 0);
  CHECK(f.transmitter.used_index() == 3);  // 128 KiB: three requests and a part of the fourth
  f.take_turns();
  CHECK(f.transmitter.used_index() == 4);
  CHECK(f.write_all() == 160_KiB);
}

TEST_CASE("console: of a request that is on its way when the queue stops, all is printed") {
  Fixture f;
  const auto data = f.ram.allocate(200_KiB);
  f.transmitter.chain().reads_at(address(data), 200_KiB).offer();
  f.output.queue.notify();
  f.output.queue.stop();
  f.io.finish(f.io.find(Op::Kind::kNop), -ECANCELED);
  f.take_turns();
  CHECK(f.output.queue.chains_out() == 0);
  CHECK(f.write_all() == 200_KiB);
}

TEST_CASE("[case 138] console: the guest prints on when nobody can hear it") {
  const i32 error = GENERATE(-EPIPE, -EIO, -EBADF);
  Fixture f;
  f.print("a");
  f.io.finish(0, error);
  f.print("b");
  CHECK(f.io.empty());
  CHECK(f.transmitter.take_used());
  CHECK(f.transmitter.take_used());
}

TEST_CASE("[case 139] console: there is no control queue that could be spoken to") {
  Fixture f;
  CHECK(f.console.queue_sizes().size() == 2);
  CHECK_FALSE(has_feature(f.console.features(), VIRTIO_CONSOLE_F_MULTIPORT));
}

TEST_CASE("[case 140] console: output in a buffer for the device to write breaks the queue") {
  Fixture f;
  f.transmitter.chain().reads(u8{'a'}).writes(1).offer();
  f.output.queue.notify();
  f.io.end_turn();
  CHECK(f.output.listener.broke == 1);
  CHECK(f.io.empty());
}

TEST_CASE("[case 13] console: output from outside of RAM is not printed") {
  Fixture f;
  f.transmitter.chain().reads_at(FakeRam::kEnd - 1, 2).offer();
  f.output.queue.notify();
  f.io.end_turn();
  CHECK(f.transmitter.take_used()->len == 0);
  CHECK(f.io.empty());
}

TEST_CASE("console: a buffer for input that cannot be written to comes back empty") {
  Fixture f;
  f.receiver.chain().reads(u64{0}).offer();
  f.receiver.chain().writes_at(FakeRam::kEnd, 16).offer();
  f.input.queue.notify();
  f.io.end_turn();
  CHECK(f.receiver.take_used()->len == 0);
  CHECK(f.receiver.take_used()->len == 0);
  CHECK(f.io.empty());
}

TEST_CASE("console: a new size changes the configuration") {
  Fixture f;
  f.console.resize(132, 50);
  virtio_console_config config{};
  REQUIRE(f.console.config().size() == sizeof config);
  std::memcpy(&config, f.console.config().data(), sizeof config);
  CHECK(config.cols == 132);
  CHECK(config.rows == 50);
  CHECK(f.listener.changes == 1);
  CHECK(has_feature(f.console.features(), VIRTIO_CONSOLE_F_SIZE));
}

TEST_CASE("console: an emergency character is printed") {
  Fixture f;
  const u32 value = 'E';
  f.console.write_config(8, {reinterpret_cast<const u8*>(&value), 4});
  CHECK(f.written() == "E");
}

TEST_CASE("[case 49] console: other writes to the configuration are ignored") {
  Fixture f;
  const u32 value = 'E';
  const u32 offset = GENERATE(0u, 2u, 4u);
  f.console.write_config(offset, {reinterpret_cast<const u8*>(&value), 4});
  CHECK(f.io.empty());
  CHECK(f.console.config()[0] == 0);
}

TEST_CASE("console: a panic is noticed, even in output that is dropped") {
  Fixture f;
  f.print("Kernel panic - not ");
  CHECK_FALSE(f.console.saw_panic());
  f.io.finish(0, -EPIPE);
  f.print("syncing: Attempted to kill init!");
  CHECK(f.console.saw_panic());
}

TEST_CASE("console: a reset gives the buffers back, and input is kept for the next driver") {
  Fixture f;
  f.post(16);
  f.post(16);
  f.input.queue.stop();
  f.output.queue.stop();
  CHECK(f.tasks.empty());
  f.console.reset();
  CHECK(f.input.queue.chains_out() == 0);
  f.type("typed early");

  FakeDriver next(f.ram);
  FakeQueue queue(f.console.io(), next);
  f.tasks.spawn(f.console.run(queue.queue, Console::kReceiveQueue));
  const auto at = next.chain().writes(16).offer();
  queue.queue.notify();
  f.io.end_turn();
  CHECK(f.text(at[0], 11) == "typed early");
  queue.queue.stop();
}

}  // namespace
}  // namespace uvmm
