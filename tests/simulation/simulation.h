// SPDX-License-Identifier: Apache-2.0
// Simulation: a device behind its real PciTransport, between a driver that does whatever drivers do (requests
// that are valid, odd and hostile, doorbells, resets, other features the next time) and a host that does
// whatever hosts do (errors, short counts, late and reordered completions). A seed decides all of it.
//
// What must hold for every device is checked here: each valid request is answered once, and all of them when
// the host has ended what it was asked for; an answer comes with an interrupt; a ring against the rules, and
// nothing else, makes the device ask for a reset; no byte of the guest's memory changes but the used rings
// and the writable buffers of requests that are out; a reset reads back 0 when nothing is in flight any more,
// and nothing moves after it.
//
// Another device is one more file like rng_simulation.cpp:
//   - a class derived from Simulation holds the device and its FakeCard, which card() returns;
//   - offer() puts one random valid request into a queue, with the check of its answer; offer_odd() one that
//     breaks a rule of the device's;
//   - end_operation() ends one host operation, with a random fault if it is told so, and keeps a model of
//   what
//     the host has done; check_operations() looks at what the device asks for;
//   - a TEST_CASE calls simulate<ThatClass>("name", seeds).
// `UVMM_SEED=N unit_tests "simulation: name*"` repeats one seed; more of them run with UVMM_TEST_FULL.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "tests/fakes/fake_card.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"
#include "tests/simulation/random.h"

namespace uvmm {

// Throws what says where.
void require(bool condition, std::source_location where = std::source_location::current());

class Simulation {
 public:
  virtual ~Simulation() = default;
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  void run();

 protected:
  using Check = std::function<void(const vring_used_elem& used)>;
  struct Buffer {
    GuestAddress start;
    u32 bytes;
  };
  struct Request {
    Check check;
    std::vector<Buffer> writable;
    bool waits = false;  // it is answered when something happens that need not
  };
  struct SimulatedQueue {
    u16 index;
    std::unique_ptr<FakeDriver> driver;
    std::map<u16, Request> out;  // by head
    bool enabled = false;
    bool must_break = false;  // the driver has broken its rules
    bool event_index = false;
  };

  Simulation(u64 seed, FakeRam& memory) : random(seed), ram(memory) {}

  // What a device's file adds.
  virtual FakeCard& card() = 0;
  virtual bool offer(SimulatedQueue& queue) = 0;  // false: not now
  virtual void offer_odd(SimulatedQueue& queue) = 0;
  virtual void end_operation(u32 i, bool well) = 0;  // by io.complete()
  virtual void check_operations() {}
  // Whether the device surely looks at the queue, so that breaking the rules there has its consequence.
  virtual bool is_served(const SimulatedQueue&) const { return true; }
  virtual bool outlives_reset(const Op&) const { return false; }
  virtual void started(u64 /*features*/) {}
  virtual void was_reset() {}
  virtual void finish() {}  // after the last reset

  // A request under construction. place() offers it.
  struct Parts {
    FakeDriver::Chain chain;
    u32 descriptors = 0;
    std::vector<Buffer> writable;
  };
  Parts parts(SimulatedQueue& queue) { return {.chain = queue.driver->chain(), .writable = {}}; }
  GuestAddress add_writable(Parts& parts, u64 bytes, u64 alignment = 1);
  void add_readable(Parts& parts, std::span<const u8> bytes, u64 alignment = 1);
  template <typename T>
  void add_readable(Parts& parts, const T& value)
    requires(!std::is_convertible_v<T, std::span<const u8>>)
  {
    add_readable(parts, std::span(reinterpret_cast<const u8*>(&value), sizeof value));
  }
  // Data in up to three buffers of any lengths.
  void scatter_readable(Parts& parts, std::span<const u8> bytes, u64 alignment = 1);
  void scatter_writable(Parts& parts, u64 bytes, u64 alignment = 1);
  Request& place(SimulatedQueue& queue, Parts& parts, Check check);
  std::vector<u8> read(const std::vector<Buffer>& buffers, u64 most) const;

  static constexpr u64 kMostDescriptors = 6;  // of one request
  // Where no RAM is, wholly or at the end.
  u64 hole_address() { return FakeRam::kEnd - random.below(64); }

  Random random;
  FakeRam& ram;
  FakeIo io;

 private:
  void set_up();
  bool negotiate(u64 features);
  void enable_queues();
  void play();
  void step();
  void offer_something();
  void break_ring(SimulatedQueue& queue);
  void write_late_registers();
  void notify(SimulatedQueue& queue);
  bool end_something(bool well);
  void end_doorbell();
  void drain();
  void reset();
  void after_action();
  void collect(SimulatedQueue& queue, bool interrupted);
  void check_memory();
  void note(GuestAddress start, u64 bytes);
  void note_driver_writes(u64 allocated_before);
  u8* host(GuestAddress gpa) { return ram.memory().slice(gpa, 1)->data(); }
  SimulatedQueue* random_queue();

  std::vector<SimulatedQueue> queues_;
  u64 features_ = 0;
  bool refused_ = false;  // DRIVER_OK came for a queue that cannot be served
  bool resetting_ = false;
  std::vector<u8> shadow_;  // memory as it must be
};

// Runs it; says at once what went wrong, since what is taken down afterwards may fail in its turn.
void run_one(Simulation& simulation);
// Runs the seeds, or the one that the environment names.
void simulate_seeds(const char* name, u64 seeds, const std::function<void(u64 seed, FakeRam& ram)>& simulate);

template <typename What>
void simulate(const char* name, u64 seeds) {
  simulate_seeds(name, seeds, [](u64 seed, FakeRam& ram) {
    What simulation(seed, ram);
    run_one(simulation);
  });
}

}  // namespace uvmm
