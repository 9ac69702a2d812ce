// SPDX-License-Identifier: Apache-2.0
// The device: framing, who is answered, what comes before and after everything else.
#include "devices/fs.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "tests/fakes/fuse_guest.h"
#include "tests/fakes/skip.h"

namespace uvmm {
namespace {

constexpr u32 kHeader = sizeof(fuse_out_header);

u32 open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<u32>(std::distance(begin(entries), end(entries)));
}

TEST_CASE("fs: the configuration says the tag and how many request queues there are") {
  FuseGuest guest({.options = {.tag = "home"}});
  virtio_fs_config config{};
  REQUIRE(guest.fs->config().size() == sizeof config);
  std::memcpy(&config, guest.fs->config().data(), sizeof config);
  CHECK(std::string(reinterpret_cast<const char*>(config.tag), 5) == std::string("home\0", 5));
  CHECK(config.num_request_queues == 1);
  CHECK(guest.fs->queue_sizes().size() == 2);
  CHECK(guest.fs->device_id() == 26);
}

TEST_CASE("fs: an answer carries its request's number") {
  FuseGuest guest;
  guest.unique = 0x1234567890;
  const FuseAnswer answer = guest.call(FUSE_GETATTR, FUSE_ROOT_ID, bytes_of(fuse_getattr_in{}));
  CHECK(answer.error == 0);
  CHECK(answer.unique == 0x1234567890);
}

TEST_CASE("[case 84] fs: a length in the header that is not the request's is EINVAL") {
  FuseGuest guest;
  const Bytes arguments = bytes_of(fuse_getattr_in{});
  for (const u32 length : {0u, 39u, 55u, 57u, ~0u}) {
    fuse_in_header header = guest.header(FUSE_GETATTR, FUSE_ROOT_ID, arguments);
    header.len = length;
    const auto at = guest.offer(header, arguments, 4096);
    CHECK(guest.answer(at, 4096).error == -EINVAL);
  }
  CHECK(guest.queue->listener.broke == 0);
}

TEST_CASE("[case 84] fs: a request that is shorter than a header, or than its operation takes, is EINVAL") {
  FuseGuest guest;
  const auto at = guest.driver.chain().reads(Bytes(39, 0)).writes(64).offer();
  guest.queue->queue.notify();
  guest.io.end_turn();
  CHECK(guest.answer(at, 64).error == -EINVAL);
  CHECK(guest.error_of(FUSE_GETATTR, FUSE_ROOT_ID, Bytes(15, 0)) == -EINVAL);
}

TEST_CASE("[case 85] fs: an operation that does not exist is ENOSYS") {
  FuseGuest guest;
  for (const u32 opcode : {0u, 7u, 19u, 63u, 64u, 65u, 4096u, ~0u})
    CHECK(guest.error_of(opcode, FUSE_ROOT_ID, Bytes(64, 0)) == -ENOSYS);
}

TEST_CASE("[case 86] fs: before FUSE_INIT nothing is done, and there is one FUSE_INIT only") {
  FuseGuest guest({.init = false});
  CHECK(guest.error_of(FUSE_GETATTR, FUSE_ROOT_ID, bytes_of(fuse_getattr_in{})) == -EINVAL);
  CHECK(guest.initialise().major == 7);
  CHECK(guest.error_of(FUSE_GETATTR, FUSE_ROOT_ID, bytes_of(fuse_getattr_in{})) == 0);
  CHECK(guest.error_of(FUSE_INIT, 0, bytes_of(fuse_init_in{.major = 7, .minor = 38})) == -EINVAL);
  CHECK(guest.error_of(FUSE_GETATTR, FUSE_ROOT_ID, bytes_of(fuse_getattr_in{})) == 0);
}

TEST_CASE(
    "[case 103] fs: a request without room for an answer's header breaks the queue, and nothing is written") {
  FuseGuest guest;
  const Bytes arguments = bytes_of(fuse_getattr_in{});
  const auto at = guest.offer(guest.header(FUSE_GETATTR, FUSE_ROOT_ID, arguments), arguments, kHeader - 1);
  CHECK(guest.queue->listener.broke == 1);
  CHECK(guest.driver.bytes(at.back(), kHeader - 1) == Bytes(kHeader - 1, FakeRam::kFill));
}

TEST_CASE("fs: an answer that does not fit is EINVAL, and nothing was done") {
  FuseGuest guest;
  guest.put("a", "");
  CHECK(guest.call(FUSE_LOOKUP, FUSE_ROOT_ID, text("a"), kHeader + sizeof(fuse_entry_out) - 1).error ==
        -EINVAL);
  CHECK(guest.fs->server().inodes.size() == 1);
  CHECK(guest.call(FUSE_MKDIR, FUSE_ROOT_ID, bytes_of(fuse_mkdir_in{}) + text("b"), kHeader).error ==
        -EINVAL);
  CHECK_FALSE(std::filesystem::exists(guest.path("b")));
}

TEST_CASE("fs: header and arguments may be spread over any number of buffers") {
  FuseGuest guest;
  guest.put("name", "");
  const Bytes name = text("name");
  const fuse_in_header header = guest.header(FUSE_LOOKUP, FUSE_ROOT_ID, name);
  const Bytes request = bytes_of(header) + name;
  auto chain = guest.driver.chain();
  for (u64 i = 0; i < request.size(); i += 3)
    chain.reads(std::span<const u8>(request).subspan(i, std::min<u64>(3, request.size() - i)));
  for (int i = 0; i < 7; ++i) chain.writes(5);
  chain.writes(4096);
  const auto at = chain.offer();
  guest.queue->queue.notify();
  guest.io.end_turn();
  CHECK(guest.driver.take_used()->len == kHeader + sizeof(fuse_entry_out));
  const std::size_t first = at.size() - 8;
  Bytes reply;
  for (std::size_t i = first; i < at.size(); ++i)
    reply = reply + guest.driver.bytes(at[i], i + 1 < at.size() ? 5 : 200);
  fuse_out_header head{};
  std::memcpy(&head, reply.data(), sizeof head);
  CHECK(head.error == 0);
  CHECK(head.len == kHeader + sizeof(fuse_entry_out));
  CHECK(head.unique == header.unique);
}

TEST_CASE("[case 13] fs: buffers outside of RAM make a request fail, where that can be said") {
  FuseGuest guest;
  const Bytes arguments = bytes_of(fuse_getattr_in{});
  const fuse_in_header header = guest.header(FUSE_GETATTR, FUSE_ROOT_ID, arguments);
  const auto at = guest.driver.chain()
                      .reads(header)
                      .reads(std::span<const u8>(arguments))
                      .writes(64)
                      .writes_at(FakeRam::kEnd, 4096)
                      .offer();
  guest.queue->queue.notify();
  guest.io.end_turn();
  CHECK(guest.driver.take_used()->len == kHeader);
  CHECK(guest.driver.memory.read<fuse_out_header>(at[2])->error == -EIO);
}

TEST_CASE("[case 117] fs: any queue serves any request") {
  FuseGuest guest;
  FakeDriver driver{guest.ram, 8};
  FakeQueue hiprio{guest.fs->io(), driver};
  guest.tasks.spawn(guest.fs->run(hiprio.queue, Fs::kHighPriorityQueue));
  const Bytes arguments = bytes_of(fuse_getattr_in{});
  const auto at = driver.chain()
                      .reads(guest.header(FUSE_GETATTR, FUSE_ROOT_ID, arguments))
                      .reads(std::span<const u8>(arguments))
                      .writes(256)
                      .offer();
  hiprio.queue.notify();
  guest.io.end_turn();
  CHECK(driver.take_used()->len == kHeader + sizeof(fuse_attr_out));
  CHECK(driver.memory.read<fuse_out_header>(at[2])->error == 0);
  hiprio.queue.stop();

  guest.put("a", "");
  const u64 node = guest.lookup("a");
  CHECK_FALSE(guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 1}), 0).answered);
  CHECK(guest.fs->server().inodes.size() == 1);
  CHECK(guest.queue->listener.broke == 0);
}

TEST_CASE("fs: what the guest forgets costs no doorbell and no interrupt of its own") {
  FuseGuest guest;
  FakeDriver driver{guest.ram, 8};
  FakeQueue hiprio{guest.fs->io(), driver};
  guest.tasks.spawn(guest.fs->run(hiprio.queue, Fs::kHighPriorityQueue));
  guest.io.end_turn();
  const auto rings = [&] {
    return vring_need_event(driver.avail_event(), driver.avail_index(), driver.avail_index() - 1);
  };
  std::vector<u64> nodes;
  for (const char* name : {"a", "b", "c"}) {
    guest.put(name, "");
    nodes.push_back(guest.lookup(name));
  }
  const auto forget = [&](u64 node) {
    const Bytes arguments = bytes_of(fuse_forget_in{.nlookup = 1});
    driver.chain()
        .reads(guest.header(FUSE_FORGET, node, arguments))
        .reads(std::span<const u8>(arguments))
        .offer();
  };
  forget(nodes[0]);
  CHECK(rings());
  hiprio.queue.notify();
  guest.io.end_turn();
  CHECK(guest.fs->server().inodes.size() == 3);
  CHECK(driver.take_used());
  // It is found when the thread is awake for something else.
  forget(nodes[1]);
  CHECK_FALSE(rings());
  guest.io.end_turn();
  CHECK(guest.fs->server().inodes.size() == 2);
  CHECK(driver.take_used());
  CHECK(hiprio.interrupt.raised == 0);

  REQUIRE(guest.io.size() == 1);
  CHECK(guest.io.pending(0).kind == Op::Kind::kTimeout);
  guest.io.perform(0);
  CHECK(hiprio.interrupt.raised == 1);
  forget(nodes[2]);
  CHECK(rings());
  hiprio.queue.stop();
}

TEST_CASE("fs: who waits for an answer by the queue of those without gets it at once") {
  FuseGuest guest;
  FakeDriver driver{guest.ram, 8};
  FakeQueue hiprio{guest.fs->io(), driver};
  guest.tasks.spawn(guest.fs->run(hiprio.queue, Fs::kHighPriorityQueue));
  guest.io.end_turn();
  const Bytes forget = bytes_of(fuse_forget_in{.nlookup = 1});
  const Bytes getattr = bytes_of(fuse_getattr_in{});
  driver.chain()
      .reads(guest.header(FUSE_FORGET, FUSE_ROOT_ID, forget))
      .reads(std::span<const u8>(forget))
      .offer();
  driver.chain()
      .reads(guest.header(FUSE_GETATTR, FUSE_ROOT_ID, getattr))
      .reads(std::span<const u8>(getattr))
      .writes(256)
      .offer();
  hiprio.queue.notify();
  guest.io.end_turn();
  CHECK(hiprio.interrupt.raised == 1);
  driver.chain()
      .reads(guest.header(FUSE_GETATTR, FUSE_ROOT_ID, getattr))
      .reads(std::span<const u8>(getattr))
      .writes(256)
      .offer();
  CHECK(driver.avail_event() + 1 == driver.avail_index());
  hiprio.queue.stop();
}

TEST_CASE("[case 120] fs: FUSE_DESTROY and a reset close everything") {
  const u32 count = 10'000;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit usual = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, count + 1000);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < count + 1000) skip("a process may not have so many files open here");
  const u32 before = open_descriptors();
  FuseGuest guest({.limits = {.handles = count}});
  const u32 idle = open_descriptors();
  for (const bool reset : {false, true}) {
    guest.put("a", "content");
    const u64 node = guest.lookup("a");
    for (u32 i = 0; i < count - 2; ++i) guest.open(node, O_RDONLY);
    const fuse_lk_in lock{.fh = guest.open(node, O_RDWR), .owner = 1, .lk = {.end = 10, .type = F_WRLCK}};
    CHECK(guest.error_of(FUSE_SETLK, node, bytes_of(lock)) == 0);
    CHECK(open_descriptors() >= idle + count);
    if (reset) {
      guest.fs->reset();
    } else {
      CHECK(guest.error_of(FUSE_DESTROY, 0) == 0);
    }
    CHECK(open_descriptors() == idle);
    CHECK(guest.fs->server().inodes.size() == 0);
    CHECK(guest.initialise().major == 7);
    CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == -ESTALE);
    CHECK(guest.lookup("a") != 0);
  }
  CHECK(before < idle);
  ::setrlimit(RLIMIT_NOFILE, &usual);
}

TEST_CASE("fs: FUSE_DESTROY while the host reads closes the file after that") {
  FuseGuest guest;
  guest.put("a", "content");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDONLY);
  const u32 open = open_descriptors();
  const Bytes arguments = bytes_of(fuse_read_in{.fh = handle, .size = 7});
  guest.offer(guest.header(FUSE_READ, node, arguments), arguments, 100);
  REQUIRE(guest.io.size() == 1);
  const int fd = guest.io.pending(0).fd;
  guest.offer(guest.header(FUSE_DESTROY, 0, {}), {}, 100);
  CHECK(::fcntl(fd, F_GETFD) >= 0);
  guest.settle();
  CHECK(::fcntl(fd, F_GETFD) < 0);
  CHECK(open_descriptors() < open);
}

TEST_CASE("[case 115] fs: there is no DAX window to map") {
  FuseGuest guest;
  CHECK(guest.error_of(FUSE_SETUPMAPPING, FUSE_ROOT_ID, Bytes(40, 0)) == -ENOSYS);
  CHECK(guest.error_of(FUSE_REMOVEMAPPING, FUSE_ROOT_ID, Bytes(40, 0)) == -ENOSYS);
}

}  // namespace
}  // namespace uvmm
