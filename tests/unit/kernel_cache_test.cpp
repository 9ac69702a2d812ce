// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel_cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "boot/input_file.h"
#include "tests/fakes/boot_fixture.h"
#include "tests/fakes/skip.h"

using namespace uvmm;

namespace {

std::string synced_path;  // what was last written to disk, as it was called then
int sync_error = 0;

}  // namespace

// In place of the C library's.
extern "C" int fdatasync(int fd) {
  char path[256] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  if (::readlink(link.c_str(), path, sizeof path - 1) > 0) synced_path = path;
  if (sync_error == 0) return static_cast<int>(::syscall(SYS_fdatasync, fd));
  errno = sync_error;
  return -1;
}

namespace {

const std::vector<u8> kKernel = pattern(20'000);
const std::string kKey = KernelCache::key_of(kKernel);

struct Caching {
  KernelCache open() {
    auto cache = KernelCache::open(path, log);
    REQUIRE(cache);
    return std::move(*cache);
  }
  std::string entry(const std::string& key = kKey) const { return path + "/" + key + ".vmlinux"; }
  std::size_t files(std::string_view suffix) const {
    std::size_t count = 0;
    for (const auto& item : std::filesystem::directory_iterator(path))
      count += item.path().string().ends_with(suffix);
    return count;
  }

  TemporaryDirectory directory;
  std::string path = directory.path("cache/uvmm");
  Log log;
};

std::vector<u8> content(const KernelCache::Entry& entry) {
  std::vector<u8> bytes(entry.bytes);
  REQUIRE(read_exactly(entry.fd.get(), bytes, 0) == 0);
  return bytes;
}

// Not changed for a minute.
struct stat settled() {
  struct stat status{};
  status.st_dev = 1;
  status.st_ino = 2;
  status.st_size = 3;
  status.st_mtim = {1000, 4};
  status.st_ctim = {1000, 5};
  return status;
}

}  // namespace

TEST_CASE("kernel cache: what was stored is found, byte for byte") {
  Caching caching;
  const auto cache = caching.open();
  CHECK_FALSE(cache.find(kKey));
  CHECK(cache.store(kKey, kKernel));
  const auto entry = cache.find(kKey);
  REQUIRE(entry);
  CHECK(content(*entry) == kKernel);
  CHECK(caching.files(".new") == 0);
}

TEST_CASE("kernel cache: an entry is on disk before it has its name") {
  Caching caching;
  const auto cache = caching.open();
  synced_path.clear();
  CHECK(cache.store(kKey, kKernel));
  CHECK(synced_path.find("/cache/uvmm/") != std::string::npos);
  CHECK(synced_path.ends_with(".new"));
}

TEST_CASE("kernel cache: an entry that the host cannot put on disk is not kept") {
  Caching caching;
  const auto cache = caching.open();
  sync_error = EIO;
  CHECK_FALSE(cache.store(kKey, kKernel));
  sync_error = 0;
  CHECK_FALSE(cache.find(kKey));
  CHECK(caching.files(".new") == 0);
}

TEST_CASE("kernel cache: the key is the SHA-256 of the content") {
  const std::string text = "abc";
  CHECK(KernelCache::key_of({reinterpret_cast<const u8*>(text.data()), 3}) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("kernel cache: its directory is made for this user alone") {
  Caching caching;
  caching.open();
  struct stat status{};
  REQUIRE(::stat(caching.path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0700);
}

TEST_CASE("kernel cache: a directory that others may use is not used") {
  Caching caching;
  caching.open();
  SECTION("mode") {
    REQUIRE(::chmod(caching.path.c_str(), GENERATE(0770, 0707, 0755)) == 0);
  }
  SECTION("owner") {
    if (::chown(caching.path.c_str(), 12345, gid_t(-1)) != 0) skip("not root");
  }
  SECTION("symbolic link") {
    std::filesystem::rename(caching.path, caching.path + ".real");
    std::filesystem::create_directory_symlink(caching.path + ".real", caching.path);
  }
  CHECK_FALSE(KernelCache::open(caching.path, caching.log));
}

TEST_CASE("kernel cache: a directory that cannot be is no error") {
  Caching caching;
  CHECK_FALSE(KernelCache::open("", caching.log));
  CHECK_FALSE(KernelCache::open("/proc/uvmm/cache", caching.log));
  CHECK_FALSE(KernelCache::open(caching.directory.file("plain", "") + "/uvmm", caching.log));
}

TEST_CASE("kernel cache: a truncated entry is not used, and is replaced") {
  Caching caching;
  const auto cache = caching.open();
  REQUIRE(cache.store(kKey, kKernel));
  std::filesystem::resize_file(caching.entry(), GENERATE(0u, 1u, 15u, 16u, 10'000u, 20'000u, 20'015u));
  CHECK_FALSE(cache.find(kKey));
  CHECK(cache.store(kKey, kKernel));
  const auto entry = cache.find(kKey);
  REQUIRE(entry);
  CHECK(content(*entry) == kKernel);
}

TEST_CASE("kernel cache: an entry that grew is not used") {
  Caching caching;
  const auto cache = caching.open();
  REQUIRE(cache.store(kKey, kKernel));
  std::filesystem::resize_file(caching.entry(), 20'017);
  CHECK_FALSE(cache.find(kKey));
}

TEST_CASE("kernel cache: an entry that someone else could have written is not used") {
  Caching caching;
  const auto cache = caching.open();
  REQUIRE(cache.store(kKey, kKernel));
  SECTION("mode") {
    REQUIRE(::chmod(caching.entry().c_str(), GENERATE(0620, 0602)) == 0);
  }
  SECTION("symbolic link") {
    std::filesystem::rename(caching.entry(), caching.path + "/real");
    std::filesystem::create_symlink("real", caching.entry());
  }
  SECTION("directory") {
    std::filesystem::remove(caching.entry());
    std::filesystem::create_directory(caching.entry());
  }
  SECTION("FIFO") {
    std::filesystem::remove(caching.entry());
    REQUIRE(::mkfifo(caching.entry().c_str(), 0600) == 0);
  }
  SECTION("owner") {
    if (::chown(caching.entry().c_str(), 12345, gid_t(-1)) != 0) skip("not root");
  }
  CHECK_FALSE(cache.find(kKey));
}

TEST_CASE("kernel cache: a key that is not one is neither found nor stored") {
  Caching caching;
  const auto cache = caching.open();
  for (const std::string& key : {std::string("../../etc/passwd"), std::string(), std::string(64, 'G')}) {
    CHECK_FALSE(cache.store(key, kKernel));
    CHECK_FALSE(cache.find(key));
  }
}

TEST_CASE("kernel cache: a directory that cannot be written any more is no error") {
  Caching caching;
  const auto cache = caching.open();
  std::filesystem::remove_all(caching.path);
  CHECK_FALSE(cache.store(kKey, kKernel));
  CHECK_FALSE(cache.find(kKey));
}

TEST_CASE("kernel cache: it keeps the newest entries and no more than eight") {
  Caching caching;
  const auto cache = caching.open();
  const auto key_of = [](u32 i) { return KernelCache::key_of(pattern(100, i)); };
  for (u32 i = 0; i < 12; ++i) {
    REQUIRE(cache.store(key_of(i), kKernel));
    const timespec times[2] = {{}, {time_t(1000 + i), 0}};
    REQUIRE(::utimensat(AT_FDCWD, caching.entry(key_of(i)).c_str(), times, 0) == 0);
  }
  CHECK(caching.files(".vmlinux") == 8);
  CHECK_FALSE(cache.find(key_of(3)));
  CHECK(cache.find(key_of(4)));
  CHECK(cache.find(key_of(11)));
}

TEST_CASE("kernel cache: what a killed writer left goes after an hour") {
  Caching caching;
  const auto cache = caching.open();
  caching.directory.file("cache/uvmm/1.new", "");
  const std::string old = caching.directory.file("cache/uvmm/2.new", "");
  const timespec times[2] = {{}, {1000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, old.c_str(), times, 0) == 0);
  REQUIRE(cache.store(kKey, kKernel));
  CHECK(caching.files("1.new") == 1);
  CHECK(caching.files("2.new") == 0);
}

TEST_CASE("kernel cache: a file's key is recalled while the file is the same") {
  Caching caching;
  const auto cache = caching.open();
  struct stat file = settled();
  CHECK_FALSE(cache.recall(file));
  cache.remember(file, kKey);
  CHECK(cache.recall(file) == kKey);
  SECTION("device") {
    ++file.st_dev;
  }
  SECTION("inode") {
    ++file.st_ino;
  }
  SECTION("size") {
    ++file.st_size;
  }
  SECTION("modification") {
    ++file.st_mtim.tv_nsec;
  }
  SECTION("change") {
    ++file.st_ctim.tv_nsec;
  }
  CHECK_FALSE(cache.recall(file));
}

TEST_CASE("kernel cache: a file that has just changed is not remembered") {
  Caching caching;
  const auto cache = caching.open();
  struct stat file = settled();
  file.st_ctim.tv_sec = ::time(nullptr);
  cache.remember(file, kKey);
  CHECK_FALSE(cache.recall(file));
}

TEST_CASE("kernel cache: a hostile memory of a file is not believed") {
  Caching caching;
  const auto cache = caching.open();
  cache.remember(settled(),
                 GENERATE(std::string("/etc/passwd"), std::string(65, 'a'), std::string(4000, 'a')));
  CHECK_FALSE(cache.recall(settled()));
}

TEST_CASE("kernel cache: writers and readers of one entry at once see it whole or not at all") {
  Caching caching;
  const auto large = pattern(1'000'000);
  std::atomic<int> damaged = 0;
  const auto work = [&] {
    Log log;
    const auto cache = KernelCache::open(caching.path, log);
    for (int i = 0; i < 20; ++i) {
      cache->store(kKey, large);
      const auto entry = cache->find(kKey);
      std::vector<u8> bytes(large.size());
      if (!entry || read_exactly(entry->fd.get(), bytes, 0) != 0 || bytes != large) ++damaged;
    }
  };
  caching.open();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  threads.clear();
  CHECK(damaged == 0);
  CHECK(caching.files("") == 1);
}

TEST_CASE("kernel cache: the environment says where it is") {
  const char* const cache = ::getenv("XDG_CACHE_HOME");
  const char* const home = ::getenv("HOME");
  const std::string old_cache = cache ? cache : "", old_home = home ? home : "";
  ::setenv("HOME", "/home/me", 1);
  ::setenv("XDG_CACHE_HOME", "/var/cache/me", 1);
  CHECK(default_kernel_cache_directory() == "/var/cache/me/uvmm");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  CHECK(default_kernel_cache_directory() == "/home/me/.cache/uvmm");
  ::unsetenv("XDG_CACHE_HOME");
  CHECK(default_kernel_cache_directory() == "/home/me/.cache/uvmm");
  ::unsetenv("HOME");
  CHECK(default_kernel_cache_directory().empty());
  if (cache) ::setenv("XDG_CACHE_HOME", old_cache.c_str(), 1);
  if (home) ::setenv("HOME", old_home.c_str(), 1);
}
