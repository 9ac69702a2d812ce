// SPDX-License-Identifier: Apache-2.0
#include "vmm/shares.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <uvmm/disk.hpp>

namespace uvmm {
namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/uvmm-shares-XXXXXX";
    path = ::mkdtemp(name);
    std::filesystem::create_directory(path + "/share");
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

Config with_share(ShareConfig share) {
  Config config;
  config.kernel = "/boot/bzImage";
  config.shares = {std::move(share)};
  return config;
}

std::string complaint(const Config& config) {
  const auto shares = open_shares(config);
  return shares ? "" : shares.error().message;
}

TEST_CASE("shares: the tag is by itself the last part of the path") {
  CHECK(share_tag({.path = "/srv/data"}) == "data");
  CHECK(share_tag({.path = "/srv/data//"}) == "data");
  CHECK(share_tag({.path = "data"}) == "data");
  CHECK(share_tag({.path = "/srv/data", .tag = "t"}) == "t");
  CHECK(share_tag({.path = "/"}).empty());
}

TEST_CASE("[case 166] shares: a directory that is missing, or none, is refused") {
  const Directory directory;
  CHECK(complaint(with_share({.path = directory.path + "/none"})).ends_with("No such file or directory"));
  std::ofstream(directory.path + "/file") << "";
  CHECK(complaint(with_share({.path = directory.path + "/file"})).ends_with("Not a directory"));
}

TEST_CASE("[case 166] shares: the whole file system is refused, by any name") {
  const Directory directory;
  CHECK(complaint(with_share({.path = "/"})).find("the whole file system") != std::string::npos);
  CHECK(complaint(with_share({.path = "/tmp/.."})).find("the whole file system") != std::string::npos);
  std::filesystem::create_symlink("/", directory.path + "/link");
  CHECK(complaint(with_share({.path = directory.path + "/link"})).find("the whole file system") !=
        std::string::npos);
}

TEST_CASE("[case 166] shares: a symlink is followed once") {
  const Directory directory;
  std::ofstream(directory.path + "/share/mark") << "";
  std::filesystem::create_directory_symlink("share", directory.path + "/link");
  const auto shares = open_shares(with_share({.path = directory.path + "/link"}));
  REQUIRE(shares);
  std::filesystem::remove(directory.path + "/link");
  std::filesystem::create_directory_symlink("/etc", directory.path + "/link");
  CHECK(::faccessat(shares->at(0).root.get(), "mark", F_OK, 0) == 0);
}

TEST_CASE("[case 166] shares: one with the VM's own files in it is refused, unless it is read-only") {
  const Directory directory;
  const std::string inside = directory.path + "/share/file";
  const ShareConfig share{.path = directory.path + "/share"};
  std::ofstream(inside) << "";
  std::filesystem::create_symlink(inside, directory.path + "/elsewhere");

  Config config = with_share(share);
  CHECK(complaint(config).empty());
  config.kernel = inside;
  CHECK(complaint(config).find("is in it") != std::string::npos);
  config.shares[0].read_only = true;
  CHECK(complaint(config).empty());

  config = with_share(share);
  config.disks = {{.path = directory.path + "/elsewhere"}};
  CHECK(complaint(config).find("is in it") != std::string::npos);

  config = with_share(share);
  config.console = {.kind = ConsoleConfig::Kind::kUnix, .path = directory.path + "/share/not-there-yet"};
  CHECK(complaint(config).find("is in it") != std::string::npos);

  config = with_share(share);
  config.vsock = {.cid = 3, .path = directory.path + "/share/vsock"};
  CHECK(complaint(config).find("is in it") != std::string::npos);
  config.vsock->path.clear();
  CHECK(complaint(config).empty());

  config = with_share(share);
  config.initrds = {directory.path + "/share-not/initrd"};
  CHECK(complaint(config).empty());
}

TEST_CASE("shares: the name of a disk that the caller serves is no file's") {
  struct SomeDisk final : Disk {
    std::uint64_t bytes() const override { return 512; }
    void submit(DiskRequest&) override {}
  } disk;
  const Directory directory;
  Config config = with_share({.path = directory.path + "/share"});
  config.disks = {{.path = directory.path + "/share/memory", .disk = &disk}};
  CHECK(complaint(config).empty());
}

TEST_CASE("shares: they divide the descriptors that the process may have") {
  Config config = with_share({.path = "a"});
  const fuse::Limits alone = share_limits(config);
  CHECK(alone.handles > 0);
  config.shares.resize(4);
  const fuse::Limits shared = share_limits(config);
  CHECK(shared.paths <= alone.paths);
  CHECK(shared.handles <= alone.handles);
  CHECK(shared.nodes >= 65536);
}

}  // namespace
}  // namespace uvmm
