// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a console between a driver that offers anything and a host that answers anything. Whatever
// happens: what is in flight stays bounded, the VM is ended by an escape at most once, and in the end all
// buffers are back.
#include <array>
#include <optional>
#include <string>

#include "devices/console.h"
#include "tests/fakes/fake_io.h"
#include "tests/fuzz/fuzz.h"

using namespace uvmm;

namespace {

constexpr u16 kRing = 64;

struct World {
  World(FuzzedDataProvider& choices, FakeRam& ram)
      : input(choices), receiver(ram, kRing), transmitter(ram, kRing) {
    const ConsoleConfig config{.kind = ConsoleConfig::Kind::kStreams,
                               .input_fd = 1000,
                               .output_fd = 1001,
                               .escape = input.ConsumeBool()};
    end = *ConsoleEnd::open(io, config, log);
    console.emplace(io, *end, log);
    receive.emplace(console->io(), receiver);
    transmit.emplace(console->io(), transmitter);
    tasks.spawn(console->run(receive->queue, Console::kReceiveQueue));
    tasks.spawn(console->run(transmit->queue, Console::kTransmitQueue));
    end->start([this] { ++quits; });
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 5)) {
      case 0:
        offer(receiver, receive->queue, true);
        break;
      case 1:
      case 2:
        offer(transmitter, transmit->queue, false);
        break;
      case 3:
        console->write_config(input.ConsumeIntegralInRange<u32>(0, 11), std::array<u8, 1>{'e'});
        break;
      default:
        if (!io.empty()) end_one();
        break;
    }
    require(quits <= 1);
    require(io.size() <= 3);  // one for the input, one for the output, and a pause in it
    while (receiver.take_used() || transmitter.take_used()) {
    }
  }

  void finish() {
    receive->queue.stop();
    transmit->queue.stop();
    end->close();
    require(io.drain([this] { end_one(); }));
    require(tasks.empty() && end->closed());
    require(receive->queue.chains_out() == 0 && transmit->queue.chains_out() == 0);
  }

 private:
  u64 buffer() {
    switch (input.ConsumeIntegralInRange(0, 3)) {
      case 0:
        return FakeRam::kEnd - input.ConsumeIntegral<u8>();
      case 1:
        return FakeRam::kBoundary - input.ConsumeIntegral<u8>();
      default:
        return FakeRam::kBoundary + input.ConsumeIntegral<u16>();
    }
  }

  void offer(FakeDriver& driver, Queue& queue, bool writable) {
    if (queue.chains_out() + 4 > kRing || queue.stopped()) return;
    if (u16(driver.avail_index() - driver.used_index()) + 4 > kRing / 2) return;
    const u32 length =
        input.ConsumeBool() ? input.ConsumeIntegral<u8>() : input.ConsumeIntegral<u32>() % 1_MiB;
    auto chain = driver.chain();
    const bool honest = input.ConsumeIntegralInRange(0, 15) > 0;
    if (writable == honest) {
      chain.writes_at(buffer(), length);
    } else {
      chain.reads_at(buffer(), length);
    }
    chain.offer();
    queue.notify();
    io.end_turn();
  }

  void end_one() {
    static constexpr i32 kErrors[] = {-EIO, -ENOSPC, -EAGAIN, -ENOMEM, -EINTR, -EPIPE, -ECANCELED, 0};
    const u32 i = input.ConsumeIntegralInRange<u32>(0, io.size() - 1);
    const Op& op = io.pending(i);
    if (input.ConsumeIntegralInRange(0, 7) == 0) return io.finish(i, input.PickValueInArray(kErrors));
    if (op.kind == Op::Kind::kRead) {
      const std::string typed = input.ConsumeRandomLengthString(io.length_of(i));
      return io.finish_read(i, {reinterpret_cast<const u8*>(typed.data()), typed.size()});
    }
    if (op.kind != Op::Kind::kWrite) return io.finish(i, op.kind == Op::Kind::kPoll ? POLLIN : -ETIME);
    const auto most = static_cast<i32>(io.length_of(i));
    require(io.length_of(i) <= ConsoleEnd::kOutputBytes);
    io.finish(i, input.ConsumeIntegralInRange(0, most));
  }

  FuzzedDataProvider& input;
  Log log;
  FakeIo io;
  FakeDriver receiver;
  FakeDriver transmitter;
  std::unique_ptr<ConsoleEnd> end;
  std::optional<Console> console;
  std::optional<FakeQueue> receive;
  std::optional<FakeQueue> transmit;
  TaskScope tasks;
  int quits = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run_program<World>(data, size);
  return 0;
}
