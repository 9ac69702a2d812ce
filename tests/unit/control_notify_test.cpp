// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace uvmm::control {
namespace {

// A service manager that waits for a process, with its socket in a directory of its own.
struct Manager {
  Manager() {
    char name[] = "/tmp/uvmm-notify-test-XXXXXX";
    directory = ::mkdtemp(name);
    path = directory + "/manager";
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    socket = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const timeval patience = {.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    ::setenv("XDG_RUNTIME_DIR", directory.c_str(), 1);
  }
  ~Manager() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("XDG_RUNTIME_DIR");
    std::filesystem::remove_all(directory);
  }
  std::string heard() const {
    char text[4096];
    const ssize_t got = ::recv(socket.get(), text, sizeof text, 0);
    return got < 0 ? std::string() : std::string(text, static_cast<std::size_t>(got));
  }

  std::string directory, path;
  Fd socket;
};

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("control notify: of what a guest says only its state is passed on") {
  CHECK(for_manager("READY=1") == "READY=1\n");
  CHECK(for_manager("STATUS=Startup finished\nREADY=1\nX_SYSTEMD_UNIT_ACTIVE=a\n") ==
        "STATUS=Startup finished\nREADY=1\n");
  CHECK(for_manager("MAINPID=1\nEXTEND_TIMEOUT_USEC=9\nFDSTORE=1\nWATCHDOG=1\nREADY=0\nREADY=11").empty());
  CHECK(for_manager("STATUS=a\x1b[2J\n\nREADY=1\r\n").empty());
  CHECK(for_manager("").empty());
}

TEST_CASE("control notify: an exit status of the guest's is a number that a process may end with") {
  CHECK(exit_status_of("EXIT_STATUS=7\n") == 7);
  CHECK(exit_status_of("X_SYSTEMD_SHUTDOWN=poweroff\nEXIT_STATUS=0") == 0);
  CHECK(exit_status_of("EXIT_STATUS=255\n") == 255);
  CHECK_FALSE(exit_status_of("READY=1\nSTATUS=EXIT_STATUS=1\n"));
  for (const char* const line : {"EXIT_STATUS=", "EXIT_STATUS=256", "EXIT_STATUS=-1", "EXIT_STATUS=1x",
                                 "EXIT_STATUS=SIGKILL", "EXIT_STATUS=99999999999999999999"})
    CHECK_FALSE(exit_status_of(line));
  CHECK(for_manager("EXIT_STATUS=7\nX_SYSTEMD_UNIT_ACTIVE=multi-user.target\n").empty());
}

TEST_CASE("control notify: without a service manager that waits there is nothing") {
  ::unsetenv("NOTIFY_SOCKET");
  Config config;
  const auto notify = GuestNotify::prepare(config);
  REQUIRE(notify);
  CHECK_FALSE(*notify);
  CHECK_FALSE(config.vsock);
  CHECK(config.credentials.empty());
}

TEST_CASE("control notify: a user who has made the credential answers it") {
  const Manager manager;
  Config config;
  config.credentials.push_back({.id = "vmm.notify_socket", .path = "/dev/null"});
  const auto notify = GuestNotify::prepare(config);
  REQUIRE(notify);
  CHECK_FALSE(*notify);
  CHECK_FALSE(config.vsock);
}

TEST_CASE("control notify: the guest is told a port, behind which its words reach the service manager") {
  const Manager manager;
  Config config;
  auto notify = GuestNotify::prepare(config);
  REQUIRE(notify);
  REQUIRE(*notify);
  REQUIRE(config.vsock);
  REQUIRE(config.credentials.size() == 1);
  CHECK(config.credentials[0].id == "vmm.notify_socket");
  CHECK(content(config.credentials[0].path) == "vsock-stream:2:8889");
  CHECK_FALSE(std::getenv("NOTIFY_SOCKET"));
  // The thread lives as long as the process, and so does what it uses.
  GuestNotify& listening = *notify->release();
  REQUIRE(listening.start());
  CHECK(manager.heard() == "STATUS=The guest is booting");

  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (config.vsock->path + "_8889").copy(address.sun_path, sizeof address.sun_path - 1);
  const Fd guest(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(guest.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  ::send(guest.get(), "READY=1\n", 8, MSG_NOSIGNAL);
  ::shutdown(guest.get(), SHUT_WR);
  CHECK(manager.heard() == "READY=1\n");
  char byte;
  CHECK(::recv(guest.get(), &byte, 1, 0) == 0);  // closed at once
  CHECK(listening.exit_status() == 0);
  const Fd again(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::connect(again.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  ::send(again.get(), "EXIT_STATUS=9\n", 14, MSG_NOSIGNAL);
  ::shutdown(again.get(), SHUT_WR);
  CHECK(::recv(again.get(), &byte, 1, 0) == 0);
  CHECK(listening.exit_status() == 9);
  listening.stopping();
  CHECK(manager.heard() == "STOPPING=1\nSTATUS=The VM has ended");

  const std::string directory = std::filesystem::path(config.vsock->path).parent_path();
  CHECK(std::filesystem::exists(directory));
  listening.remove();
  CHECK_FALSE(std::filesystem::exists(directory));
}

TEST_CASE("control notify: a socket device that the user has is used") {
  const Manager manager;
  Config config;
  config.vsock = VsockConfig{.cid = 7, .path = manager.directory + "/vsock"};
  const auto notify = GuestNotify::prepare(config);
  REQUIRE(notify);
  REQUIRE(*notify);
  CHECK(config.vsock->cid == 7);
  CHECK(std::filesystem::exists(manager.directory + "/vsock_8889"));
}

}  // namespace
}  // namespace uvmm::control
