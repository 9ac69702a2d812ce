// SPDX-License-Identifier: Apache-2.0
#include "vmm/shares.h"

#include <linux/virtio_vsock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <uvmm/disk.hpp>

#include "devices/vsock_host.h"
#include "tests/fakes/fake_target.h"
#include "tests/fakes/fuse_guest.h"
#include "vmm/control/client.h"
#include "vmm/control/server.h"
#include "vmm/control/socket.h"

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
  config.vsock = {.cid = 3, .path = directory.path + "/share/vm.vsock"};
  CHECK(complaint(config).find("is in it") != std::string::npos);
  config.vsock->path = directory.path + "/vm.vsock";
  CHECK(complaint(config).empty());
  config.vsock->path = {};  // only ports of the embedding program
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

// The process may have so many descriptors for a while.
struct DescriptorLimit {
  explicit DescriptorLimit(rlim_t most) {
    ::getrlimit(RLIMIT_NOFILE, &before);
    const rlimit limit{.rlim_cur = std::min(most, before.rlim_max), .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before); }
  rlimit before{};
};

TEST_CASE("[case 110] shares: however many there are, they leave descriptors for everything else") {
  const rlim_t most = GENERATE(64u, 200u, 1024u, 4096u, 1u << 20);
  const DescriptorLimit limit(most);
  rlimit now{};
  ::getrlimit(RLIMIT_NOFILE, &now);
  for (u64 count = 1; count <= 31; ++count) {
    Config config;
    config.shares.resize(count);
    const fuse::Limits each = share_limits(config);
    CHECK(count * (each.handles + each.paths) + std::min<u64>(now.rlim_cur / 4, 256) <= now.rlim_cur);
  }
}

TEST_CASE("[case 110] shares: when one has used up its descriptors, control and vsock clients still get in") {
  const Directory directory;
  const std::string control_path = directory.path + "/control", vsock_path = directory.path + "/vsock";
  auto control =
      control::ControlSocket::open({.kind = command::ControlChoice::Kind::kPath, .path = control_path}, "vm");
  REQUIRE((control && *control));
  control::FakeTarget target;
  control::EventLog events;
  auto server = control::Server::start((*control)->fd(), target, events);
  REQUIRE(server);
  const DescriptorLimit limit(512);
  const auto host = *VsockHost::open(vsock_path);
  const Config config = with_share({.path = directory.path});
  FuseGuest guest({.limits = share_limits(config), .file_handles = false});
  for (int i = 0; i < 300; ++i) guest.put(fmt::format("{}", i), "");
  for (int i = 0; i < 300; ++i) guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text(fmt::format("{}", i)));
  const u64 node = guest.lookup("0");
  int opened = 0;
  while (guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{})) == 0) ++opened;
  CHECK(guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{})) == -ENFILE);
  CHECK(opened >= 200);

  auto client = control::Client::connect(control_path, std::chrono::seconds(20));
  REQUIRE(client);
  const auto answer = client->ask({.target = "/v1/log"});
  REQUIRE(answer);
  CHECK(answer->status == 200);

  const Fd program = host->new_socket(VIRTIO_VSOCK_TYPE_STREAM);
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  vsock_path.copy(name.sun_path, sizeof name.sun_path - 1);
  REQUIRE(::connect(program.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  const Fd accepted(::accept4(host->stream_listener(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(accepted);
  CHECK(host->within_reserve(accepted.get()));
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
