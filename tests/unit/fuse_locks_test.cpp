// SPDX-License-Identifier: Apache-2.0
// Locks: between the guest's processes, and between them and the host's.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/fakes/fuse_guest.h"

namespace uvmm {
namespace {

constexpr u64 kWhole = ~u64{0} >> 1;

struct Fixture {
  Fixture() {
    guest.put("a", "0123456789");
    node = guest.lookup("a");
    handle = guest.open(node, O_RDWR);
    host = ::open(guest.path("a").c_str(), O_RDWR | O_CLOEXEC);
  }
  ~Fixture() { ::close(host); }

  static fuse_lk_in wish(u64 handle, u64 owner, u32 type, u64 start, u64 end, u32 flags = 0) {
    return {.fh = handle,
            .owner = owner,
            .lk = {.start = start, .end = end, .type = type, .pid = static_cast<u32>(100 + owner)},
            .lk_flags = flags};
  }
  i32 lock(u64 owner, u32 type, u64 start = 0, u64 end = kWhole) {
    return guest.error_of(FUSE_SETLK, node, bytes_of(wish(handle, owner, type, start, end)));
  }
  fuse_file_lock test(u64 owner, u32 type, u64 start = 0, u64 end = kWhole) {
    return guest.call<fuse_lk_out>(FUSE_GETLK, node, bytes_of(wish(handle, owner, type, start, end))).lk;
  }
  bool host_may(short type, off_t start = 0, off_t length = 0) {
    struct flock lock{};
    lock.l_type = type;
    lock.l_start = start;
    lock.l_len = length;
    return ::fcntl(host, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
  }
  // Of one byte, in any file.
  bool host_may_in(std::string_view name, short type, u64 start) const {
    const int fd = ::open(guest.path(name).c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock{};
    lock.l_type = type;
    lock.l_start = static_cast<off_t>(start);
    lock.l_len = 1;
    const bool free = ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
    ::close(fd);
    return free;
  }
  bool host_lock(short type) {
    struct flock lock{};
    lock.l_type = type;
    return ::fcntl(host, F_OFD_SETLK, &lock) == 0;
  }
  // Like lock(), and those that wait go on waiting.
  i32 lock_quietly(u64 owner, u32 type) {
    const Bytes arguments = bytes_of(wish(handle, owner, type, 0, kWhole));
    return guest.answer(guest.offer(guest.header(FUSE_SETLK, node, arguments), arguments, 64), 64).error;
  }
  // A SETLKW that is left waiting.
  std::vector<GuestAddress> wait_for(u64 owner, u64 start = 0, u64 end = kWhole) {
    const Bytes arguments = bytes_of(wish(handle, owner, F_WRLCK, start, end));
    return guest.offer(guest.header(FUSE_SETLKW, node, arguments), arguments, 64);
  }

  FuseGuest guest;
  u64 node = 0;
  u64 handle = 0;
  int host = -1;
};

TEST_CASE("locks: the guest's owners exclude each other, by range") {
  Fixture f;
  CHECK(f.lock(1, F_WRLCK, 0, 4) == 0);
  CHECK(f.lock(2, F_WRLCK, 4, 9) == -EAGAIN);
  CHECK(f.lock(2, F_RDLCK, 0, 0) == -EAGAIN);
  CHECK(f.lock(2, F_WRLCK, 5, 9) == 0);
  CHECK(f.lock(1, F_RDLCK, 0, 4) == 0);
  CHECK(f.lock(2, F_RDLCK, 0, 4) == 0);
  const fuse_file_lock other = f.test(1, F_WRLCK, 0, kWhole);
  CHECK(other.type == F_RDLCK);
  CHECK(other.pid == 102);
  CHECK(f.test(1, F_RDLCK, 0, 4).type == F_UNLCK);
  CHECK(f.lock(2, F_UNLCK) == 0);
  CHECK(f.test(1, F_WRLCK).type == F_UNLCK);
  CHECK(f.lock(99, F_UNLCK) == 0);
}

TEST_CASE("locks: the host sees the guest's, and the guest the host's") {
  Fixture f;
  CHECK(f.lock(1, F_WRLCK, 0, 4) == 0);
  CHECK_FALSE(f.host_may(F_RDLCK, 0, 1));
  CHECK(f.host_may(F_WRLCK, 5, 1));
  CHECK(f.lock(1, F_UNLCK) == 0);
  CHECK(f.host_lock(F_WRLCK));
  CHECK(f.lock(1, F_RDLCK, 0, 0) == -EAGAIN);
  const fuse_file_lock seen = f.test(1, F_RDLCK, 3, 5);
  CHECK(seen.type == F_WRLCK);
  CHECK(seen.start == 0);
  CHECK(seen.end == kWhole);
  CHECK(seen.pid == 0);
}

TEST_CASE("locks: closing a descriptor of the file releases its owner's, the last one everybody's") {
  Fixture f;
  CHECK(f.lock(1, F_WRLCK, 0, 1) == 0);
  CHECK(f.lock(2, F_WRLCK, 2, 3) == 0);
  CHECK(f.guest.error_of(FUSE_FLUSH, f.node, bytes_of(fuse_flush_in{.fh = f.handle, .lock_owner = 1})) == 0);
  CHECK(f.host_may(F_WRLCK, 0, 2));
  CHECK_FALSE(f.host_may(F_WRLCK, 2, 2));
  f.guest.release(f.node, f.handle);
  CHECK(f.host_may(F_WRLCK));
  CHECK(f.guest.fs->server().handles.descriptors() == 0);
}

TEST_CASE("locks: flock belongs to the handle, and goes with it") {
  Fixture f;
  const u64 second = f.guest.open(f.node, O_RDWR);
  const auto flock_of = [&](u64 handle, u32 type) {
    return f.guest.error_of(FUSE_SETLK, f.node,
                            bytes_of(Fixture::wish(handle, 1, type, 0, kWhole, FUSE_LK_FLOCK)));
  };
  CHECK(flock_of(f.handle, F_WRLCK) == 0);
  CHECK(flock_of(second, F_RDLCK) == -EAGAIN);
  CHECK(::flock(f.host, LOCK_EX | LOCK_NB) < 0);
  f.guest.release(f.node, f.handle);
  CHECK(flock_of(second, F_WRLCK) == 0);
  CHECK(flock_of(second, F_UNLCK) == 0);
  CHECK(::flock(f.host, LOCK_EX | LOCK_NB) == 0);
}

TEST_CASE("[case 113] locks: who waits for one takes nobody's time, and gets it when it is free") {
  Fixture f;
  CHECK(f.host_lock(F_WRLCK));
  const auto at = f.wait_for(1);
  REQUIRE(f.guest.io.size() == 1);
  CHECK(f.guest.io.pending(0).kind == Op::Kind::kTimeout);
  for (int i = 0; i < 10; ++i) f.guest.io.perform(0);
  CHECK(f.guest.io.pending(0).length <= 20'000'000);
  CHECK_FALSE(f.guest.answer(at, 64).answered);
  CHECK(f.host_lock(F_UNLCK));
  f.guest.io.perform(0);
  CHECK(f.guest.answer(at, 64).error == 0);
  CHECK_FALSE(f.host_may(F_RDLCK));
}

TEST_CASE(
    "[case 113] locks: who would wait for itself in the end gets EDEADLK, and others are served meanwhile") {
  Fixture f;
  f.guest.put("b", "");
  CHECK(f.lock(1, F_WRLCK, 0, 0) == 0);
  CHECK(f.lock(2, F_WRLCK, 1, 1) == 0);
  CHECK(f.lock(3, F_WRLCK, 2, 2) == 0);
  f.wait_for(1, 1, 1);
  const auto second = f.wait_for(2, 2, 2);
  CHECK(f.guest.io.size() == 2);
  const FuseAnswer third = f.guest.answer(f.wait_for(3, 0, 0), 64);
  CHECK(third.error == -EDEADLK);
  const Bytes name = text("b");
  const auto lookup = f.guest.offer(f.guest.header(FUSE_LOOKUP, FUSE_ROOT_ID, name), name, 256);
  CHECK(f.guest.answer(lookup, 256).error == 0);
  // It gives way, and the others get on.
  CHECK(f.lock_quietly(3, F_UNLCK) == 0);
  f.guest.io.perform(1);
  CHECK(f.guest.answer(second, 64).error == 0);
}

TEST_CASE(
    "locks: to wait for one's own or for a reader is no deadlock, but that two wait for each other's reading "
    "is") {
  Fixture f;
  CHECK(f.lock(1, F_RDLCK, 0, 0) == 0);
  CHECK(f.lock(2, F_RDLCK, 0, 0) == 0);
  CHECK(f.lock(2, F_WRLCK, 5, 5) == 0);
  f.wait_for(1, 5, 5);
  CHECK(f.guest.io.size() == 1);
  CHECK(f.guest.answer(f.wait_for(2, 9, 9), 64).error == 0);
  CHECK(f.guest.answer(f.wait_for(2, 0, 0), 64).error == -EDEADLK);
}

TEST_CASE("[case 113] locks: a search for a deadlock that takes too long ends, and the lock is waited for") {
  Fixture f;
  constexpr u64 kOwners = 12;
  constexpr u64 kReader = 100;
  // Owner 1 waits for owner 2, who waits for owner 1. Those that are looked at before wait for one with many
  // locks, who waits for nobody.
  CHECK(f.lock(2, F_RDLCK, 5, 5) == 0);
  for (u64 i = 0; i < kOwners; ++i) CHECK(f.lock(10 + i, F_RDLCK, 5, 5) == 0);
  CHECK(f.lock(1, F_WRLCK, 7, 7) == 0);
  CHECK(f.lock(kReader, F_WRLCK, 6, 6) == 0);
  constexpr u64 kEach = fuse::LockTable::kMostCompared / kOwners + 1;
  for (u64 i = 0; i < kEach; ++i) CHECK(f.lock(kReader, F_RDLCK, 10 + 2 * i, 10 + 2 * i) == 0);
  f.wait_for(2, 7, 7);
  for (u64 i = 0; i < kOwners; ++i) f.wait_for(10 + i, 6, 6);
  CHECK(f.guest.io.size() == 1 + kOwners);
  f.wait_for(1, 5, 5);
  CHECK(f.guest.io.size() == 2 + kOwners);
}

TEST_CASE("[case 113] locks: a deadlock is found among many that wait for each other") {
  Fixture f;
  constexpr u64 kOwners = 12;
  CHECK(f.lock(2, F_RDLCK, 5, 5) == 0);
  for (u64 i = 0; i < kOwners; ++i) CHECK(f.lock(10 + i, F_RDLCK, 5, 5) == 0);
  CHECK(f.lock(1, F_WRLCK, 7, 7) == 0);
  CHECK(f.lock(100, F_WRLCK, 6, 6) == 0);
  f.wait_for(2, 7, 7);
  for (u64 i = 0; i < kOwners; ++i) f.wait_for(10 + i, 6, 6);
  CHECK(f.guest.answer(f.wait_for(1, 5, 5), 64).error == -EDEADLK);
}

TEST_CASE("[case 116] locks: for a lock nothing is opened for writing that the guest has open for reading") {
  for (const bool read_only : {true, false}) {
    FuseGuest guest({.options = {.read_only = read_only}});
    guest.put("a", "content");
    const u64 node = guest.lookup("a");
    const auto lock = [&](u64 handle, u32 type, u64 start) {
      return guest.error_of(FUSE_SETLK, node, bytes_of(Fixture::wish(handle, 1, type, start, start)));
    };
    const auto writers = [&] {
      int count = 0;
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        if (std::filesystem::read_symlink(entry.path(), gone) != guest.path("a")) continue;
        const int fd = std::stoi(entry.path().filename());
        count += (::fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
      }
      return count;
    };
    const u64 reading = guest.open(node, O_RDONLY);
    CHECK(lock(reading, F_RDLCK, 0) == 0);
    CHECK(lock(reading, F_WRLCK, 1) == -EBADF);
    CHECK(writers() == 0);
    if (read_only) continue;
    // The same owner opens it for writing, too, and keeps what it has.
    const u64 writing = guest.open(node, O_RDWR);
    CHECK(lock(writing, F_WRLCK, 1) == 0);
    CHECK(lock(reading, F_RDLCK, 2) == 0);
    CHECK(writers() == 2);
    const int host = ::open(guest.path("a").c_str(), O_RDWR | O_CLOEXEC);
    for (const off_t byte : {0, 1, 2}) {
      struct flock wish{};
      wish.l_type = F_WRLCK;
      wish.l_start = byte;
      wish.l_len = 1;
      CHECK(::fcntl(host, F_OFD_SETLK, &wish) < 0);
    }
    ::close(host);
    CHECK(guest.fs->server().handles.descriptors() == 3);
  }
}

TEST_CASE("[case 113] locks: who waits can be interrupted") {
  Fixture f;
  CHECK(f.host_lock(F_WRLCK));
  const auto at = f.wait_for(1);
  const Bytes interrupt = bytes_of(fuse_interrupt_in{.unique = f.guest.unique - 1});
  f.guest.offer(f.guest.header(FUSE_INTERRUPT, 0, interrupt), interrupt, 0);
  CHECK(f.guest.driver.take_used()->len == 0);
  f.guest.io.perform(0);
  CHECK(f.guest.answer(at, 64).error == -EINTR);
}

TEST_CASE("[case 114] locks: an interrupt of a request that there is not, or of two alike, is ignored") {
  Fixture f;
  for (const u64 unique : {u64{0}, u64{12345}, ~u64{0}}) {
    const Bytes interrupt = bytes_of(fuse_interrupt_in{.unique = unique});
    CHECK_FALSE(f.guest.call(FUSE_INTERRUPT, 0, interrupt, 0).answered);
    CHECK_FALSE(f.guest.call(FUSE_INTERRUPT, 0, interrupt, 64).answered);
  }
  CHECK(f.guest.queue->listener.broke == 0);
  CHECK(f.host_lock(F_WRLCK));
  f.guest.unique = 500;
  f.wait_for(1);
  f.guest.unique = 500;
  f.wait_for(2);
  CHECK(f.guest.io.size() == 2);
  CHECK(f.host_lock(F_UNLCK));
  f.guest.io.perform(0);
  CHECK(f.guest.driver.take_used());
}

TEST_CASE("locks: a request that waits ends with the session") {
  Fixture f;
  CHECK(f.host_lock(F_WRLCK));
  const auto at = f.wait_for(1);
  f.guest.offer(f.guest.header(FUSE_DESTROY, 0, {}), {}, 64);
  CHECK(f.guest.driver.take_used());
  f.guest.io.perform(0);
  CHECK(f.guest.answer(at, 64).error == -ESTALE);
}

TEST_CASE("locks: ranges and kinds that are none are EINVAL, and owners are bounded like everything open") {
  Fixture f;
  CHECK(f.lock(1, F_WRLCK, 5, 4) == -EINVAL);
  CHECK(f.lock(1, F_WRLCK, 0, ~u64{0}) == -EINVAL);
  CHECK(f.lock(1, 3) == -EINVAL);
  CHECK(f.lock(1, ~0u) == -EINVAL);

  FuseGuest small({.limits = {.handles = 3}});
  small.put("a", "");
  const u64 node = small.lookup("a");
  const u64 handle = small.open(node, O_RDWR);
  for (u64 owner = 0; owner < 5; ++owner) {
    const i32 error = small.error_of(FUSE_SETLK, node, bytes_of(Fixture::wish(handle, owner, F_RDLCK, 0, 1)));
    CHECK(error == (owner < 2 ? 0 : -ENOLCK));
  }
}

TEST_CASE("locks: how many ranges the guest has locked is bounded, and the end of an owner makes room") {
  Fixture f;
  const auto lock_each = [&f](u64 count) {
    i32 error = 0;
    for (u64 i = 0; i < count && error == 0; ++i) error = f.lock(1, F_RDLCK, 2 * i, 2 * i);
    return error;
  };
  constexpr u64 kFiles = 32;  // since the host looks at all locks of a file
  constexpr u64 kEach = fuse::LockTable::kMostRanges / kFiles;
  for (u64 i = 1; i < kFiles; ++i) {
    f.node = f.guest.create(std::to_string(i), f.handle);
    CHECK(lock_each(kEach) == 0);
  }
  f.node = f.guest.create("last", f.handle);
  constexpr u64 kLong = 1'000'000;
  CHECK(f.lock(1, F_WRLCK, kLong, kLong + 99) == 0);
  CHECK(lock_each(kEach) == -ENOLCK);
  // To unlock makes more of them, too.
  CHECK(f.lock(1, F_UNLCK, kLong + 50, kLong + 50) == -ENOLCK);
  CHECK_FALSE(f.host_may_in("last", F_RDLCK, kLong + 50));
  CHECK(f.lock(1, F_UNLCK, kLong + 50, kLong + 99) == 0);
  CHECK(f.host_may_in("last", F_WRLCK, kLong + 50));
  CHECK(f.lock(1, F_UNLCK) == 0);
  CHECK(lock_each(kEach - 1) == 0);
  const fuse_flush_in flush{.fh = f.handle, .lock_owner = 1};
  CHECK(f.guest.error_of(FUSE_FLUSH, f.node, bytes_of(flush)) == 0);
  CHECK(lock_each(kEach - 1) == 0);
}

}  // namespace
}  // namespace uvmm
