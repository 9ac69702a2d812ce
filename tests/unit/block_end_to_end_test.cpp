// SPDX-License-Identifier: Apache-2.0
// Block over a real file and the real io_uring: these tests need a kernel that allows it.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "devices/block.h"
#include "devices/virtio/spec.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/loop_device.h"
#include "vmm/base/uring.h"

namespace uvmm {
namespace {

constexpr u64 kImageBytes = 1_MiB;
constexpr u64 kMillisecond = 1'000'000;
constexpr u64 kFeatures = FakeDriver::kAllFeatures | feature(VIRTIO_BLK_F_FLUSH) |
                          feature(VIRTIO_BLK_F_DISCARD) | feature(VIRTIO_BLK_F_WRITE_ZEROES);

// An image in a directory that goes away with the test; its byte i is i / 512.
struct Image {
  Image() {
    char name[] = "/tmp/uvmm-block-XXXXXX";
    directory = ::mkdtemp(name);
    path = directory + "/a.img";
    const Fd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    std::vector<u8> bytes(kImageBytes);
    for (u64 i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i / 512);
    REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  ~Image() { std::filesystem::remove_all(directory); }

  std::vector<u8> read(u64 offset, u64 bytes) const {
    const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::vector<u8> content(bytes);
    REQUIRE(::pread(fd.get(), content.data(), bytes, static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(bytes));
    return content;
  }

  std::string directory;
  std::string path;
};

struct Guest {
  explicit Guest(DiskImage image) : block(*uring, std::move(image), {}, log) { block.start(kFeatures); }

  // Serves what has been offered until `count` requests have ended; their number.
  u32 serve(u32 count) {
    TaskScope tasks;
    tasks.spawn(block.run(queue.queue, 0));
    tasks.spawn(stop_after(count));
    uring->run();
    block.io().cancel_all();
    uring->drain();
    return served;
  }
  Task<> stop_after(u32 count) {
    for (int i = 0; i < 20000 && served < count; ++i) {
      co_await uring->sleep(kMillisecond);
      while (driver.take_used()) ++served;
    }
    queue.queue.stop();
    uring->stop();
  }
  static virtio_blk_outhdr header(u32 type, u64 sector = 0) { return {.type = type, .sector = sector}; }

  Log log;
  std::unique_ptr<Uring> uring = std::move(*Uring::create(64));
  FakeDriver driver{128};
  Block block;
  FakeQueue queue{block.io(), driver};
  u32 served = 0;
};

TEST_CASE("block on a file: what was written and flushed is in the file, what is there is read") {
  const Image image;
  Guest guest(std::move(*DiskImage::open({.path = image.path}, false)));
  const std::vector<u8> data(4096, 0xab);
  const auto read =
      guest.driver.chain().reads(Guest::header(VIRTIO_BLK_T_IN, 7)).writes(1024).writes(1).offer();
  const auto write = guest.driver.chain()
                         .reads(Guest::header(VIRTIO_BLK_T_OUT, 16))
                         .reads(std::span<const u8>(data))
                         .writes(1)
                         .offer();
  const auto flush = guest.driver.chain().reads(Guest::header(VIRTIO_BLK_T_FLUSH)).writes(1).offer();
  REQUIRE(guest.serve(3) == 3);
  CHECK(guest.driver.bytes(read[2], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(guest.driver.bytes(write[2], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(guest.driver.bytes(flush[1], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(guest.driver.bytes(read[1], 512) == std::vector<u8>(512, 7));
  CHECK(guest.driver.bytes(read[1] + 512, 512) == std::vector<u8>(512, 8));
  CHECK(image.read(16 * 512, 4096) == data);
  CHECK(image.read(15 * 512, 512) == std::vector<u8>(512, 15));
}

// The process may not make files grow, or write them, beyond so much; as `uvmm` does, without the signal.
struct FileLimit {
  explicit FileLimit(u64 bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
  }
  rlimit before{};
  sighandler_t handler = ::signal(SIGXFSZ, SIG_IGN);
};

TEST_CASE("[case 66] block on a file: a write beyond the process's limit fails, and the next one is served") {
  const Image image;
  Guest guest(std::move(*DiskImage::open({.path = image.path}, false)));
  const FileLimit limit(64_KiB);
  const std::vector<u8> data(512, 0xab);
  std::vector<GuestAddress> answers;
  for (const u64 sector : {128, 127}) {
    const auto at = guest.driver.chain()
                        .reads(Guest::header(VIRTIO_BLK_T_OUT, sector))
                        .reads(std::span<const u8>(data))
                        .writes(1)
                        .offer();
    answers.push_back(at[2]);
  }
  REQUIRE(guest.serve(2) == 2);
  CHECK(guest.driver.bytes(answers[0], 1) == std::vector<u8>{VIRTIO_BLK_S_IOERR});
  CHECK(guest.driver.bytes(answers[1], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(image.read(128 * 512, 512) == std::vector<u8>(512, 128));
}

TEST_CASE("block on a file: zeroes are zeroes, with or without their blocks") {
  const u32 flags = GENERATE(0u, u32{VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP});
  const Image image;
  Guest guest(std::move(*DiskImage::open({.path = image.path}, false)));
  const virtio_blk_discard_write_zeroes range{.sector = 9, .num_sectors = 20, .flags = flags};
  const auto at =
      guest.driver.chain().reads(Guest::header(VIRTIO_BLK_T_WRITE_ZEROES)).reads(range).writes(1).offer();
  REQUIRE(guest.serve(1) == 1);
  CHECK(guest.driver.bytes(at[2], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(image.read(9 * 512, 20 * 512) == std::vector<u8>(20 * 512, 0));
  CHECK(image.read(8 * 512, 512) == std::vector<u8>(512, 8));
  CHECK(image.read(29 * 512, 512) == std::vector<u8>(512, 29));
}

// Reads with buffers that are nowhere aligned.
void check_direct_reads(const std::string& path, const Image& image) {
  auto disk = DiskImage::open({.path = path, .direct = true}, false);
  if (!disk) skip("no O_DIRECT in /tmp");
  const u32 block = disk->geometry().offset_alignment;
  Guest guest(std::move(*disk));
  const auto buffer = guest.driver.allocate(64_KiB, 4096);
  const u64 skew = GENERATE(0u, 1u, 512u, 4095u);
  const auto read = guest.driver.chain()
                        .reads(Guest::header(VIRTIO_BLK_T_IN, block / 512))
                        .writes_at(address(buffer) + skew, 100)
                        .writes_at(address(buffer) + skew + 8192, block - 100)
                        .writes(1)
                        .offer();
  REQUIRE(guest.serve(1) == 1);
  CHECK(guest.driver.bytes(read[3], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(guest.driver.bytes(read[1], 100) == image.read(block, 100));
  CHECK(guest.driver.bytes(read[2], block - 100) == image.read(block + 100, block - 100));
}

TEST_CASE("block on a file: direct I/O of any buffer gives the file's bytes") {
  const Image image;
  check_direct_reads(image.path, image);
}

TEST_CASE(
    "block on a disk: direct I/O of any buffer gives its bytes, with logical blocks of 512 and 4096 bytes") {
  const u32 logical = GENERATE(512u, 4096u);
  const Image image;
  const LoopDevice loop(image.path, logical);
  check_direct_reads(loop.path(), image);
}

TEST_CASE("[case 65] block on a file: an image that is cut meanwhile gives errors, and grows when written") {
  const Image image;
  Guest guest(std::move(*DiskImage::open({.path = image.path}, false)));
  REQUIRE(::truncate(image.path.c_str(), 512) == 0);
  const std::vector<u8> data(512, 0xab);
  const auto read =
      guest.driver.chain().reads(Guest::header(VIRTIO_BLK_T_IN, 1)).writes(512).writes(1).offer();
  const auto write = guest.driver.chain()
                         .reads(Guest::header(VIRTIO_BLK_T_OUT, 8))
                         .reads(std::span<const u8>(data))
                         .writes(1)
                         .offer();
  REQUIRE(guest.serve(2) == 2);
  CHECK(guest.driver.bytes(write[2], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(image.read(8 * 512, 512) == data);
  // The read may have come first or last; it never invents bytes.
  const auto status = guest.driver.bytes(read[2], 1);
  const auto content = guest.driver.bytes(read[1], 512);
  CHECK((status[0] == VIRTIO_BLK_S_IOERR || content == std::vector<u8>(512, 0)));
}

TEST_CASE("block on a file: an image that grows meanwhile keeps the capacity that the guest knows") {
  const Image image;
  Guest guest(std::move(*DiskImage::open({.path = image.path}, false)));
  REQUIRE(::truncate(image.path.c_str(), 2 * kImageBytes) == 0);
  constexpr u64 kEnd = kImageBytes / 512;
  const auto last =
      guest.driver.chain().reads(Guest::header(VIRTIO_BLK_T_IN, kEnd - 1)).writes(512).writes(1).offer();
  const auto behind =
      guest.driver.chain().reads(Guest::header(VIRTIO_BLK_T_IN, kEnd)).writes(512).writes(1).offer();
  REQUIRE(guest.serve(2) == 2);
  CHECK(guest.driver.bytes(last[2], 1) == std::vector<u8>{VIRTIO_BLK_S_OK});
  CHECK(guest.driver.bytes(last[1], 512) == image.read(kImageBytes - 512, 512));
  CHECK(guest.driver.bytes(behind[2], 1) == std::vector<u8>{VIRTIO_BLK_S_IOERR});
  u64 capacity = 0;
  std::memcpy(&capacity, guest.block.config().data(), sizeof capacity);
  CHECK(capacity == kEnd);
}

TEST_CASE("block on a file: a ring full of requests at once is served") {
  const Image image;
  Guest guest(std::move(*DiskImage::open({.path = image.path}, false)));
  std::vector<std::vector<GuestAddress>> requests;
  for (u64 i = 0; i < 42; ++i) {
    requests.push_back(
        guest.driver.chain().reads(Guest::header(VIRTIO_BLK_T_IN, i * 3)).writes(512).writes(1).offer());
  }
  REQUIRE(guest.serve(42) == 42);
  for (u64 i = 0; i < 42; ++i) {
    REQUIRE(guest.driver.bytes(requests[i][1], 512) == std::vector<u8>(512, static_cast<u8>(i * 3)));
  }
}

}  // namespace
}  // namespace uvmm
