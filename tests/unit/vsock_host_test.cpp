// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_host.h"

#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <climits>
#include <filesystem>

#include "tests/fakes/vsock_fixture.h"

namespace uvmm {
namespace {

TEST_CASE("vsock host: two sockets for their owner only, which go when it does") {
  const VsockDirectory directory;
  const std::string path = directory.path + "/vm";
  {
    const auto host = VsockHost::open(path);
    REQUIRE(host);
    for (const std::string& name : {path, path + "_seqpacket"}) {
      struct stat status{};
      REQUIRE(::stat(name.c_str(), &status) == 0);
      CHECK((status.st_mode & 0777) == 0600);
    }
    (*host)->close();
    CHECK(std::filesystem::is_empty(directory.path));
  }
}

TEST_CASE("vsock host: without a path there is nothing in the file system") {
  const auto host = *VsockHost::open("");
  CHECK(host->stream_listener() == -1);
  CHECK(host->record_listener() == -1);
  CHECK_FALSE(host->address_of(52));
  host->close();
}

TEST_CASE("vsock host: the embedding program gets the other end of a connection to its port") {
  Fd theirs;
  const auto host = *VsockHost::open("", {{.port = 52, .connected = [&](int fd) { theirs = Fd(fd); }}});
  CHECK_FALSE(host->connect_to_embedder(53, VIRTIO_VSOCK_TYPE_STREAM));
  const Fd ours = host->connect_to_embedder(52, VIRTIO_VSOCK_TYPE_STREAM);
  REQUIRE(ours);
  REQUIRE(theirs);
  CHECK(::send(ours.get(), "x", 1, 0) == 1);
  char got = 0;
  CHECK(::recv(theirs.get(), &got, 1, 0) == 1);
  CHECK(got == 'x');
}

TEST_CASE("[case 169] vsock host: a path that is taken is refused, and nothing stays") {
  const VsockDirectory directory;
  const std::string path = directory.path + "/vm";
  const auto first = VsockHost::open(path);
  REQUIRE(first);
  const auto second = VsockHost::open(path);
  REQUIRE_FALSE(second);
  CHECK(second.error().kind == ErrorKind::kBusy);
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("vsock host: each port of the host has its path") {
  const VsockDirectory directory;
  const std::string path = directory.path + "/vm";
  const auto host = *VsockHost::open(path);
  CHECK(std::string(host->address_of(52)->sun_path) == path + "_52");
  CHECK(std::string(host->address_of(0xffffffff)->sun_path) == path + "_4294967295");
}

TEST_CASE("[case 125] vsock host: a path too long for a socket, or a symbolic link, is no address") {
  const VsockDirectory directory;
  const std::string path =
      directory.path + "/" + std::string(VsockHost::kMostPathBytes - directory.path.size(), 'x');
  const auto host = *VsockHost::open(path);
  CHECK_FALSE(host->address_of(0xffffffff));
  CHECK(host->address_of(1));
  std::filesystem::create_symlink("elsewhere", path + "_1");
  CHECK_FALSE(host->address_of(1));
}

TEST_CASE("vsock host: a socket for records takes longer ones than others") {
  const VsockDirectory directory;
  const auto host = *VsockHost::open(directory.path + "/vm");
  const auto room = [&](u16 type) {
    const Fd fd = host->new_socket(type);
    int value = 0;
    socklen_t length = sizeof value;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &value, &length);
    return value;
  };
  CHECK(room(VIRTIO_VSOCK_TYPE_SEQPACKET) > room(VIRTIO_VSOCK_TYPE_STREAM));
}

TEST_CASE("vsock host: sockets are of the connection's type") {
  const VsockDirectory directory;
  const auto host = *VsockHost::open(directory.path + "/vm");
  const auto kind = [&](u16 type) {
    const Fd fd = host->new_socket(type);
    int value = 0;
    socklen_t length = sizeof value;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &value, &length);
    return value;
  };
  CHECK(kind(VIRTIO_VSOCK_TYPE_STREAM) == SOCK_STREAM);
  CHECK(kind(VIRTIO_VSOCK_TYPE_SEQPACKET) == SOCK_SEQPACKET);
}

}  // namespace
}  // namespace uvmm
