// SPDX-License-Identifier: Apache-2.0
#include "devices/vsock_host.h"

#include <linux/virtio_vsock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
  CHECK_FALSE(host->target_of(52));
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

// Where the guest's request for `port` goes now; empty for nowhere.
std::string path_of(const VsockHost& host, u32 port) {
  const auto target = host.target_of(port);
  return target ? std::filesystem::read_symlink(target->name.sun_path).string() : "";
}

TEST_CASE("vsock host: each port of the host has its path") {
  const VsockDirectory directory;
  const std::string path = directory.path + "/vm";
  const auto host = *VsockHost::open(path);
  CHECK_FALSE(host->target_of(52));
  make_socket(path + "_52");
  make_socket(path + "_4294967295");
  CHECK(path_of(*host, 52) == path + "_52");
  CHECK(path_of(*host, 0xffffffff) == path + "_4294967295");
  CHECK_FALSE(host->target_of(5));
}

TEST_CASE("vsock host: a path without a slash is in the directory of that time") {
  const VsockDirectory directory;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path);
  const auto host = VsockHost::open("vm");
  make_socket("vm_52");
  if (host) CHECK(path_of(**host, 52) == directory.path + "/vm_52");
  std::filesystem::current_path(before);
  REQUIRE(host);
  CHECK(path_of(**host, 52) == directory.path + "/vm_52");
  std::filesystem::current_path(directory.path);  // where its own sockets are taken away
  (*host)->close();
  std::filesystem::current_path(before);
}

TEST_CASE("[case 125] vsock host: a path too long for a socket is none that is looked for") {
  const VsockDirectory directory;
  const std::string path =
      directory.path + "/" + std::string(VsockHost::kMostPathBytes - directory.path.size(), 'x');
  const auto host = *VsockHost::open(path);
  make_socket(path + "_1");
  CHECK(host->target_of(1));
  CHECK_FALSE(host->target_of(0xffffffff));
}

TEST_CASE("[case 125] vsock host: what is no socket is not connected to, a symbolic link to one included") {
  const VsockDirectory directory;
  const std::string path = directory.path + "/vm";
  const auto host = *VsockHost::open(path);
  make_socket(directory.path + "/other");
  std::filesystem::create_symlink("other", path + "_1");
  std::filesystem::create_directory(path + "_2");
  REQUIRE(::mkfifo((path + "_3").c_str(), 0600) == 0);
  for (const u32 port : {1, 2, 3}) CHECK_FALSE(host->target_of(port));
}

// Whether a client gets to `listener` by `target`.
bool reaches(const VsockHost& host, const VsockHost::Target& target, const UnixListener& listener) {
  const Fd client = host.new_socket(VIRTIO_VSOCK_TYPE_STREAM);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&target.name), sizeof target.name) < 0)
    return false;
  pollfd waiting{.fd = listener.fd(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) == 1;
}

TEST_CASE(
    "[case 125] [case 166] vsock host: a socket that is exchanged for a link is connected to all the same") {
  const VsockDirectory directory;
  const std::string path = directory.path + "/vm";
  const auto host = *VsockHost::open(path);
  const auto meant = UnixListener::listen(path + "_52");
  const auto other = UnixListener::listen(directory.path + "/other");
  REQUIRE((meant && other));
  const auto target = host->target_of(52);
  REQUIRE(target);
  // What a guest could do that has this directory as a share: a rename of one to the other.
  std::filesystem::rename(path + "_52", path + "_away");
  std::filesystem::create_symlink("other", path + "_52");
  CHECK(reaches(*host, *target, *meant));
  CHECK_FALSE(host->target_of(52));
}

TEST_CASE("[case 166] vsock host: a directory that is exchanged for another is used all the same") {
  const VsockDirectory directory;
  std::filesystem::create_directory(directory.path + "/own");
  std::filesystem::create_directory(directory.path + "/other");
  const auto host = *VsockHost::open(directory.path + "/own/vm");
  make_socket(directory.path + "/other/vm_52");
  std::filesystem::rename(directory.path + "/own", directory.path + "/away");
  std::filesystem::create_directory_symlink("other", directory.path + "/own");
  CHECK_FALSE(host->target_of(52));
}

// Runs where there is no /proc, in a process of its own, whose status it is.
int connect_without_proc(const std::string& root) {
  if (::chroot(root.c_str()) < 0 || ::chdir("/") < 0) return 2;
  const auto host = VsockHost::open("/vm");
  const auto listener = UnixListener::listen("/vm_52");
  if (!host || !listener || ::symlink("vm_52", "/vm_53") < 0) return 3;
  const auto target = (*host)->target_of(52);
  if (!target || target->socket || (*host)->target_of(53) || (*host)->target_of(54)) return 4;
  return reaches(**host, *target, *listener) ? 0 : 5;
}

TEST_CASE("vsock host: without /proc the path itself is connected to") {
  if (::geteuid() != 0) return;  // chroot() is not for all
  const VsockDirectory directory;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(connect_without_proc(directory.path));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) ? WEXITSTATUS(status) : -1) == 0);
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
