// SPDX-License-Identifier: Apache-2.0
#include "boot/kernel_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sha256.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <vector>

#include "boot/input_file.h"

namespace uvmm {
namespace {

constexpr std::string_view kKernelSuffix = ".vmlinux";
constexpr std::string_view kIdentitySuffix = ".key";
constexpr std::string_view kUnfinishedSuffix = ".new";
constexpr std::size_t kKeyCharacters = SHA256_DIGEST_LENGTH * 2;

// Behind the kernel. Whatever cut the file short also took this.
struct Trailer {
  char magic[8] = {'u', 'v', 'm', 'm', '-', 'k', '0', '1'};
  le64 kernel_bytes = 0;
};
static_assert(sizeof(Trailer) == 16);

bool is_key(std::string_view text) {
  return text.size() == kKeyCharacters &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string identity_name(const struct stat& file) {
  return fmt::format("{:x}-{:x}-{:x}-{:x}.{:x}-{:x}.{:x}{}", file.st_dev, file.st_ino, file.st_size,
                     file.st_mtim.tv_sec, file.st_mtim.tv_nsec, file.st_ctim.tv_sec, file.st_ctim.tv_nsec,
                     kIdentitySuffix);
}

// Only this user may write it, and so only this user has.
bool is_ours_alone(const struct stat& status) {
  return status.st_uid == ::geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool write_exactly(int fd, std::span<const u8> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

bool write_entry(int fd, std::span<const u8> kernel) {
  Trailer trailer;
  trailer.kernel_bytes = kernel.size();
  return write_exactly(fd, kernel) &&
         write_exactly(fd, {reinterpret_cast<const u8*>(&trailer), sizeof(trailer)});
}

void make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
    ::mkdir(path.substr(0, slash).c_str(), 0700);
  ::mkdir(path.c_str(), 0700);
}

}  // namespace

std::string default_kernel_cache_directory() {
  // XDG Base Directory Specification 0.8: a relative path is to be ignored.
  const char* const cache = ::secure_getenv("XDG_CACHE_HOME");
  if (cache && *cache == '/') return std::string(cache) + "/uvmm";
  const char* const home = ::secure_getenv("HOME");
  if (home && *home == '/') return std::string(home) + "/.cache/uvmm";
  return {};
}

std::optional<KernelCache> KernelCache::open(const std::string& directory, Log& log) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (directory.empty()) return std::nullopt;
  Fd fd(::open(directory.c_str(), kFlags));
  if (!fd && errno == ENOENT) {
    make_directories(directory);
    fd = Fd(::open(directory.c_str(), kFlags));
  }
  if (!fd) {
    log.info("no kernel cache: cannot open {}: {}", directory, error_text(errno));
    return std::nullopt;
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0 || !is_ours_alone(status) || (status.st_mode & 077) != 0) {
    log.warning("no kernel cache: {} is not this user's alone", directory);
    return std::nullopt;
  }
  return KernelCache(std::move(fd));
}

std::string KernelCache::key_of(std::span<const u8> packed) {
  char text[SHA256_DIGEST_STRING_LENGTH] = {};
  ::SHA256Data(packed.data(), packed.size(), text);
  return text;
}

std::optional<std::string> KernelCache::recall(const struct stat& file) const {
  char key[kKeyCharacters + 1];
  const ssize_t length = ::readlinkat(directory_.get(), identity_name(file).c_str(), key, sizeof(key));
  if (length < 0 || !is_key({key, static_cast<std::size_t>(length)})) return std::nullopt;
  return std::string(key, static_cast<std::size_t>(length));
}

void KernelCache::remember(const struct stat& file, const std::string& key) const {
  // A file that has just changed may change again within the same tick of its file system's clock, and keep
  // its times. It is remembered at a later start.
  constexpr time_t kSettledSeconds = 2;
  if (::time(nullptr) - file.st_ctim.tv_sec < kSettledSeconds) return;
  ::symlinkat(key.c_str(), directory_.get(), identity_name(file).c_str());
}

std::optional<KernelCache::Entry> KernelCache::find(const std::string& key) const {
  if (!is_key(key)) return std::nullopt;
  const std::string name = key + std::string(kKernelSuffix);
  Fd fd(::openat(directory_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) || !is_ours_alone(status))
    return std::nullopt;
  const u64 bytes = static_cast<u64>(status.st_size);
  if (bytes < sizeof(Trailer)) return std::nullopt;
  Trailer trailer;
  if (read_exactly(fd.get(), {reinterpret_cast<u8*>(&trailer), sizeof(trailer)}, bytes - sizeof(trailer)) !=
      0)
    return std::nullopt;
  if (std::memcmp(trailer.magic, Trailer{}.magic, sizeof(trailer.magic)) != 0 ||
      trailer.kernel_bytes != bytes - sizeof(trailer))
    return std::nullopt;
  return Entry{std::move(fd), trailer.kernel_bytes};
}

bool KernelCache::store(const std::string& key, std::span<const u8> kernel) const {
  u64 random = 0;
  if (!is_key(key) || ::getrandom(&random, sizeof(random), 0) != sizeof(random)) return false;
  const std::string unfinished = fmt::format("{:016x}{}", random, kUnfinishedSuffix);
  const std::string name = key + std::string(kKernelSuffix);
  const Fd fd(::openat(directory_.get(), unfinished.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return false;
  // Written by write(2), not through a mapping, where a full disk would be a SIGBUS. The name appears when
  // the content is whole and on disk, or a crash of the host could leave a name with zeros behind it; of
  // several writers of the same content the last one's stays.
  if (write_entry(fd.get(), kernel) && ::fdatasync(fd.get()) == 0 &&
      ::renameat(directory_.get(), unfinished.c_str(), directory_.get(), name.c_str()) == 0) {
    prune();
    return true;
  }
  ::unlinkat(directory_.get(), unfinished.c_str(), 0);
  return false;
}

void KernelCache::prune() const {
  struct Item {
    std::string name;
    timespec modified{};
  };
  constexpr std::size_t kMaxIdentities = 8 * kMaxEntries;
  constexpr time_t kUnfinishedSeconds = 3600;  // its writer is long gone
  std::vector<Item> kernels, identities;
  DIR* const listing = ::fdopendir(::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listing) return;
  while (const dirent* const entry = ::readdir(listing)) {
    const std::string_view name = entry->d_name;
    struct stat status{};
    if (::fstatat(directory_.get(), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (name.ends_with(kKernelSuffix)) kernels.push_back({entry->d_name, status.st_mtim});
    if (name.ends_with(kIdentitySuffix)) identities.push_back({entry->d_name, status.st_mtim});
    if (name.ends_with(kUnfinishedSuffix) && ::time(nullptr) - status.st_mtim.tv_sec > kUnfinishedSeconds)
      ::unlinkat(directory_.get(), entry->d_name, 0);
  }
  ::closedir(listing);

  const auto drop_oldest = [&](std::vector<Item>& items, std::size_t keep) {
    std::ranges::sort(items, std::ranges::greater{}, [](const Item& item) {
      return std::pair(item.modified.tv_sec, item.modified.tv_nsec);
    });
    for (std::size_t i = keep; i < items.size(); ++i) ::unlinkat(directory_.get(), items[i].name.c_str(), 0);
  };
  drop_oldest(kernels, kMaxEntries);
  drop_oldest(identities, kMaxIdentities);
}

}  // namespace uvmm
