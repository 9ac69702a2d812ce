// SPDX-License-Identifier: Apache-2.0
// With the real io_uring: these tests need a kernel that allows it.
#include "vmm/base/uring.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/skip.h"
#include "vmm/base/task.h"

using namespace uvmm;

namespace {

std::unique_ptr<Uring> make_uring(u32 entries = 64) {
  auto uring = Uring::create(entries);
  REQUIRE(uring);
  return std::move(*uring);
}

Fd memory_file(std::string_view content) {
  Fd file(::memfd_create("test", MFD_CLOEXEC));
  REQUIRE(::write(file.get(), content.data(), content.size()) == ssize_t(content.size()));
  return file;
}

iovec as_iovec(std::string& text) {
  return {text.data(), text.size()};
}

Task<> copy_through(Uring& uring, int from, int to, std::string& buffer, i32& read, i32& written) {
  const iovec whole = as_iovec(buffer);
  const std::span<const iovec> buffers(&whole, 1);
  const i32 got = co_await uring.readv(from, buffers, 2);
  read = got;
  const std::span<const u8> bytes(reinterpret_cast<const u8*>(buffer.data()), size_t(got));
  const i32 put = co_await uring.write(to, bytes, 0);
  written = put;
  uring.stop();
}

Task<> many_yields(Uring& uring, int rounds, int& done, int& running) {
  for (int i = 0; i < rounds; ++i) {
    co_await uring.yield();
    ++done;
  }
  if (--running == 0) uring.stop();
}

Task<> spawn_yielders(Uring& uring, TaskScope& scope, int& done, int& running) {
  co_await uring.yield();
  const int all = running;
  for (int i = 0; i < all; ++i) scope.spawn(many_yields(uring, 50, done, running));
}

Task<> punch(Uring& uring, int fd, i32& result, i32& synced) {
  const i32 punched = co_await uring.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
  result = punched;
  const i32 flushed = co_await uring.fdatasync(fd);
  synced = flushed;
  uring.stop();
}

// Work that comes from elsewhere, to be found by looking.
struct Ring : BeforeSleep {
  explicit Ring(Uring& u) : uring(u) {
    look = [](BeforeSleep& hook, bool last) { return static_cast<Ring&>(hook).find(last); };
  }
  bool find(bool last) {
    ++(last ? last_looks : looks);
    if (last) eager = false;
    if (!filled.exchange(false)) return false;
    ++found;
    eager = true;
    if (on_find) on_find();
    uring.before_sleep(*this);
    return true;
  }

  Uring& uring;
  std::atomic<bool> filled = false;
  std::function<void()> on_find;
  int looks = 0, last_looks = 0, found = 0;
};

}  // namespace

// This thread on one processor only, for as long as it lives.
struct OneProcessor {
  OneProcessor() {
    REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    int first = 0;
    while (!CPU_ISSET(first, &before)) ++first;
    CPU_SET(first, &one);
    REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  }
  ~OneProcessor() { ::sched_setaffinity(0, sizeof before, &before); }
  cpu_set_t before;
};

void need_two_processors() {
  cpu_set_t processors;
  REQUIRE(::sched_getaffinity(0, sizeof processors, &processors) == 0);
  if (CPU_COUNT(&processors) < 2) skip("there is one processor");
}

TEST_CASE("uring: what is found before it sleeps is not slept over") {
  const auto uring = make_uring();
  Ring ring(*uring);
  ring.filled = true;
  ring.on_find = [&] { uring->stop(); };
  uring->before_sleep(ring);
  uring->run();
  CHECK(ring.found == 1);
  uring->forget(ring);
  uring->drain();
}

TEST_CASE("uring: an answer that comes at once costs no system call, and no look when none is expected") {
  need_two_processors();
  const auto uring = make_uring();
  Ring ring(*uring);
  ring.eager = true;
  ring.filled = true;
  ring.on_find = [&] {
    ring.filled = ring.found < 1000;
    if (ring.found == 1000) uring->stop();
  };
  uring->before_sleep(ring);
  uring->run();
  CHECK(ring.found == 1000);
  CHECK(ring.last_looks == 0);
  CHECK(uring->enters() < 10);

  ring.eager = false;
  ring.looks = 0;
  std::thread other([&] { uring->call([&] { ring.last_looks += 100; }); });
  uring->turn_until([&] { return ring.last_looks >= 100; });
  other.join();
  CHECK(ring.looks == 0);
  uring->forget(ring);
  uring->drain();
}

TEST_CASE("uring: a completion ends a look") {
  const auto uring = make_uring();
  Ring ring(*uring);
  uring->stop();
  uring->run();
  bool called = false;
  std::thread other([&] { uring->call([&] { called = true; }); });
  // It expects something for as long as it runs, so that it never sleeps unless a look has found nothing.
  uring->turn_until([&] {
    ring.eager = true;
    uring->before_sleep(ring);
    return called;
  });
  other.join();
  uring->forget(ring);
  uring->drain();
}

TEST_CASE("uring: with one processor there is no look for an answer, which could not come meanwhile") {
  const OneProcessor only;
  const auto uring = make_uring();
  Ring ring(*uring);
  ring.eager = true;
  uring->before_sleep(ring);
  std::thread other([&] { uring->call([&] { uring->stop(); }); });
  uring->run();
  other.join();
  CHECK(ring.looks == 0);
  CHECK(ring.last_looks == 1);
  uring->forget(ring);
  uring->drain();
}

// A write to an eventfd, of which nobody waits for the end.
struct QuietWrite : Op {
  explicit QuietWrite(int eventfd) {
    static constexpr u64 kOne = 1;
    kind = Kind::kWrite;
    quiet = true;
    fd = eventfd;
    address = &kOne;
    count = sizeof kOne;
    offset = kNoOffset;
    on_complete = [](Op& op, i32, bool) { static_cast<QuietWrite&>(op).ended = true; };
  }
  bool ended = false;
};

struct StoppingPoll : Op {
  StoppingPoll(int polled, Uring& ring) : uring(ring) {
    kind = Kind::kPoll;
    fd = polled;
    flags = POLLIN;
    on_complete = [](Op& op, i32, bool) { static_cast<StoppingPoll&>(op).uring.stop(); };
  }
  Uring& uring;
};

TEST_CASE("uring: it sleeps over the end of what is quiet") {
  const OneProcessor only;
  const auto uring = make_uring();
  const Fd question(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), answer(::eventfd(0, EFD_CLOEXEC));
  QuietWrite ask(question.get());
  StoppingPoll answered(answer.get(), *uring);
  uring->submit(ask);
  uring->submit(answered);
  std::thread other([&] {
    pollfd asked{.fd = question.get(), .events = POLLIN, .revents = 0};
    ::poll(&asked, 1, -1);
    ::eventfd_write(answer.get(), 1);
  });
  uring->run();
  other.join();
  CHECK(ask.ended);
  CHECK(uring->enters() == 1);
  uring->drain();
}

TEST_CASE("uring: what is quiet and was handed over before is not slept over") {
  const OneProcessor only;
  const auto uring = make_uring(4);
  uring->stop();
  uring->run();
  const Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), never(::eventfd(0, EFD_CLOEXEC));
  QuietWrite raise(event.get());
  std::deque<StoppingPoll> others;
  uring->submit(raise);
  for (int i = 0; i < 4; ++i) uring->submit(others.emplace_back(never.get(), *uring));
  uring->turn_until([&] { return raise.ended; });
  for (StoppingPoll& poll : others) uring->cancel(poll);
  uring->drain();
}

TEST_CASE("uring: a write within a call is done when it returns") {
  const auto uring = make_uring();
  const Fd file = memory_file("0123");
  std::string text("ab");
  const iovec whole = as_iovec(text);
  CHECK(uring->writev_now(file.get(), {&whole, 1}, 1, 0) == 2);
  std::string content(4, '.');
  CHECK(::pread(file.get(), content.data(), content.size(), 0) == 4);
  CHECK(content == "0ab3");
}

TEST_CASE("uring: writes within a call are bounded in each turn") {
  const auto uring = make_uring();
  uring->stop();
  uring->run();
  std::string large(3_MiB, 'x');
  const iovec whole = as_iovec(large);
  CHECK(uring->writev_now(-1, {&whole, 1}, 0, 0) == -EBADF);
  CHECK(uring->writev_now(-1, {&whole, 1}, 0, 0) == -EAGAIN);
  // In the next turn, or in a later one, should a busy machine have made that call a long one.
  i32 later = -EAGAIN;
  for (int tries = 0; tries < 1000 && later == -EAGAIN; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    uring->catch_up();
    later = uring->writev_now(-1, {&whole, 1}, 0, 0);
  }
  CHECK(later == -EBADF);
  uring->drain();
}

TEST_CASE("uring: after a write within a call that took long others are to be submitted") {
  const auto uring = make_uring();
  const Fd file = memory_file("");
  std::string text("x");
  const iovec whole = as_iovec(text);
  // A pipe that is full makes it wait; on a busy machine perhaps not the first time.
  bool refused = false;
  for (int tries = 0; tries < 100 && !refused; ++tries) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const Fd from(ends[0]), to(ends[1]);
    std::string fill(size_t(::fcntl(to.get(), F_GETPIPE_SZ)), '.');
    REQUIRE(::write(to.get(), fill.data(), fill.size()) == ssize_t(fill.size()));
    std::thread reader([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      while (::read(from.get(), fill.data(), fill.size()) < 0) continue;
    });
    const i32 written = uring->writev_now(to.get(), {&whole, 1}, Op::kNoOffset, 0);
    CHECK((written == 1 || written == -EAGAIN));
    refused = written == -EAGAIN || uring->writev_now(file.get(), {&whole, 1}, 0, 0) == -EAGAIN;
    reader.join();
  }
  CHECK(refused);
}

TEST_CASE("uring: looks that find nothing become rare") {
  need_two_processors();
  const auto uring = make_uring();
  Ring ring(*uring);
  uring->stop();
  uring->run();
  constexpr int kTurns = 300;
  int turns = 0, looked = 0;
  std::thread other([&] {
    for (int i = 0; i < kTurns; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      uring->call([&] {
        ++turns;
        ring.eager = true;
        uring->before_sleep(ring);
      });
    }
  });
  uring->turn_until([&] {
    looked += ring.looks > 0;
    ring.looks = 0;
    return turns == kTurns;
  });
  other.join();
  CHECK(looked > 0);
  CHECK(looked < kTurns / 2);  // without other load about ten
  uring->forget(ring);
  uring->drain();
}

TEST_CASE("uring: reads and writes at offsets") {
  const auto uring = make_uring();
  const Fd source = memory_file("0123456789"), target = memory_file("");
  std::string buffer(4, '.');
  i32 read = 0, written = 0;
  TaskScope scope;
  scope.spawn(copy_through(*uring, source.get(), target.get(), buffer, read, written));
  uring->run();
  uring->drain();
  CHECK(read == 4);
  CHECK(written == 4);
  CHECK(buffer == "2345");
}

TEST_CASE("uring: more operations at once than the submission queue holds") {
  const auto uring = make_uring(8);
  int done = 0, running = 100;
  TaskScope scope;
  scope.spawn(spawn_yielders(*uring, scope, done, running));
  uring->run();
  uring->drain();
  CHECK(done == 5'000);
}

TEST_CASE("uring: a cancelled operation completes with ECANCELED") {
  const auto uring = make_uring();
  OpGroup group(*uring);
  i32 result = 0;
  TaskScope scope;
  // A Task over the group, so that cancel_all() finds the operation.
  struct Local {
    static Task<> sleep(OpGroup& io, Uring& ring, i32& out) {
      const i32 slept = co_await io.sleep(3'600'000'000'000);
      out = slept;
      ring.stop();
    }
  };
  scope.spawn(Local::sleep(group, *uring, result));
  group.cancel_all();
  uring->run();
  uring->drain();
  CHECK(result == -ECANCELED);
}

TEST_CASE("uring: a multishot poll reports each write to an eventfd that nobody reads") {
  const auto uring = make_uring();
  const Fd event(::eventfd(0, EFD_CLOEXEC));
  struct Poll : Op {
    int fired = 0;
    Uring* ring = nullptr;
    int event_fd = -1;
  } poll;
  poll.kind = Op::Kind::kPollMultishot;
  poll.fd = poll.event_fd = event.get();
  poll.flags = POLLIN;
  poll.ring = uring.get();
  poll.on_complete = [](Op& op, i32, bool more) {
    Poll& self = static_cast<Poll&>(op);
    if (!more) return;
    if (++self.fired == 3) {
      self.ring->cancel(self);
      self.ring->stop();
    } else {
      ::eventfd_write(self.event_fd, 1);
    }
  };
  uring->submit(poll);
  ::eventfd_write(event.get(), 1);
  uring->run();
  uring->drain();
  CHECK(poll.fired == 3);
}

TEST_CASE("uring: fallocate and fdatasync") {
  const auto uring = make_uring();
  const Fd file = memory_file(std::string(8192, 'x'));
  i32 punched = -1, synced = -1;
  TaskScope scope;
  scope.spawn(punch(*uring, file.get(), punched, synced));
  uring->run();
  uring->drain();
  CHECK(punched == 0);
  CHECK(synced == 0);
  char byte = 'x';
  REQUIRE(::pread(file.get(), &byte, 1, 0) == 1);
  CHECK(byte == '\0');
}

TEST_CASE("uring: a hundred operations that wait keep no other one waiting") {
  constexpr u64 kPage = 4096, kWaiting = 100;
  const Fd faults(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)));
  if (faults.get() < 0) skip("no userfaultfd of the kernel's faults");
  uffdio_api api = {.api = UFFD_API};
  REQUIRE(::ioctl(faults.get(), UFFDIO_API, &api) == 0);
  void* const pages = ::mmap(nullptr, kWaiting * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(pages != MAP_FAILED);
  uffdio_register range = {.range = {reinterpret_cast<u64>(pages), kWaiting * kPage},
                           .mode = UFFDIO_REGISTER_MODE_MISSING};
  REQUIRE(::ioctl(faults.get(), UFFDIO_REGISTER, &range) == 0);

  const auto uring = make_uring(256);
  struct Stopping : Op {
    explicit Stopping(Uring& u) : uring(u) {
      on_complete = [](Op& op, i32, bool) {
        static_cast<Stopping&>(op).done = true;
        static_cast<Stopping&>(op).uring.stop();
      };
    }
    Uring& uring;
    bool done = false;
  };
  struct Waiting : Op {
    bool done = false;
  };
  std::vector<Waiting> waiting(kWaiting);  // each until the userfaultfd lets it
  for (u64 i = 0; i < kWaiting; ++i) {
    Waiting& op = waiting[i];
    op.kind = Op::Kind::kMadvise;
    op.address = static_cast<u8*>(pages) + i * kPage;
    op.length = kPage;
    op.flags = MADV_POPULATE_READ;
    op.on_complete = [](Op& self, i32, bool) { static_cast<Waiting&>(self).done = true; };
    uring->submit(op);
  }
  const Fd file = memory_file("x");
  Stopping sync(*uring), late(*uring);
  sync.kind = Op::Kind::kFdatasync;
  sync.fd = file.get();
  uring->submit(sync);
  late.kind = Op::Kind::kTimeout;
  late.length = 20'000'000'000;
  uring->submit(late);
  uring->run();
  CHECK(sync.done);
  CHECK(std::ranges::none_of(waiting, &Waiting::done));

  uffdio_range all = range.range;
  REQUIRE(::ioctl(faults.get(), UFFDIO_UNREGISTER, &all) == 0);
  uring->cancel(late);
  uring->drain();
  CHECK(std::ranges::all_of(waiting, &Waiting::done));
  ::munmap(pages, kWaiting * kPage);
}

TEST_CASE("uring: calls from other threads run on the I/O thread, each once, and are waited for") {
  const auto uring = make_uring();
  const auto io_thread = std::this_thread::get_id();
  int total = 0;  // no atomic: only the I/O thread touches it
  std::atomic<int> finished = 0;
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        bool right_thread = false;
        uring->call([&] {
          ++total;
          right_thread = std::this_thread::get_id() == io_thread;
        });
        if (!right_thread) std::abort();
      }
      if (++finished == 4) uring->stop();
    });
  }
  uring->run();
  for (std::thread& caller : callers) caller.join();
  uring->drain();
  CHECK(total == 2'000);
}

TEST_CASE("uring: what is posted runs on the I/O thread, also what was posted before run()") {
  const auto uring = make_uring();
  int ran = 0;
  uring->post([&] { ++ran; });
  std::thread poster([&] {
    uring->post([&] {
      ++ran;
      uring->stop();
    });
  });
  uring->run();
  poster.join();
  uring->drain();
  CHECK(ran == 2);
}

TEST_CASE("uring: what was posted and never ran leaves nothing behind") {
  const auto held = std::make_shared<int>(0);
  {
    const auto uring = make_uring();
    uring->post([held] {});
    uring->close();
    uring->post([held] {});
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("uring: catch_up() takes all that has completed, however much it is") {
  const auto uring = make_uring();
  uring->stop();
  uring->run();  // makes this the I/O thread
  const Fd event(::eventfd(0, EFD_CLOEXEC));
  struct Poll : Op {
    bool fired = false;
  };
  std::vector<Poll> polls(200);
  for (Poll& poll : polls) {
    poll.kind = Op::Kind::kPoll;
    poll.fd = event.get();
    poll.flags = POLLIN;
    poll.on_complete = [](Op& op, i32, bool) { static_cast<Poll&>(op).fired = true; };
    uring->submit(poll);
  }
  uring->catch_up();
  CHECK_FALSE(polls.front().fired);
  ::eventfd_write(event.get(), 1);
  uring->catch_up();
  CHECK(std::ranges::all_of(polls, &Poll::fired));
  uring->drain();
}

TEST_CASE("uring: after close() calls are refused, those that wait included") {
  const auto uring = make_uring();
  std::atomic<int> refused = 0;
  std::thread waiting([&] { refused += !uring->call([] {}); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  uring->close();
  waiting.join();
  refused += !uring->call([] {});
  CHECK(refused == 2);
}

TEST_CASE("uring: stop() from another thread ends a run that has nothing else to do") {
  const auto uring = make_uring();
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    uring->stop();
  });
  uring->run();
  stopper.join();
  uring->drain();
  CHECK(uring->enters() < 10);
}
