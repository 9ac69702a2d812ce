// SPDX-License-Identifier: Apache-2.0
// The uvmm command as a process while its VM runs: signals, standard streams, the terminal, and the files and
// sockets that are there as long as it is.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/cli/payload.h"
#include "tests/cli/process.h"

using namespace uvmm::test;
using Catch::Matchers::Contains;

namespace {

// Until the VM runs: its pidfile is there and the threads are started.
bool is_running(const Process& process, const std::string& pidfile) {
  return Process::wait_until([&] {
    const std::string tasks = "/proc/" + std::to_string(process.pid()) + "/task";
    std::error_code gone;
    const auto threads = std::distance(std::filesystem::directory_iterator(tasks, gone), {});
    return exists(pidfile) && threads >= 3;
  });
}

long resident_pages(const Process& process) {
  std::ifstream file("/proc/" + std::to_string(process.pid()) + "/statm");
  long all = 0, resident = 0;
  file >> all >> resident;
  return resident;
}

tcflag_t local_modes(int terminal) {
  termios mode{};
  ::tcgetattr(terminal, &mode);
  return mode.c_lflag;
}

}  // namespace

TEST_CASE("cli: a file that may not grow is an error, not the end") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const auto bounded = [] {
    const rlimit limit = {.rlim_cur = 8, .rlim_max = 8};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  const Ending ending = run({"-v", "--no-cache", "--kernel", kernel, "--log-file", directory.file("log")},
                            {.before_exec = bounded});
  CHECK(ending.status == 0);
  CHECK(read_file(directory.file("log")).size() == 8);
}

TEST_CASE("cli: a signal that is ignored at the start stays so") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  const std::string pidfile = directory.file("pid");
  for (const int ignored : {SIGHUP, SIGINT, SIGQUIT}) {
    CAPTURE(ignored);
    Process process({"--kernel", kernel, "--pidfile", pidfile},
                    {.before_exec = [&] { ::signal(ignored, SIG_IGN); }});
    REQUIRE(is_running(process, pidfile));
    process.signal(ignored);
    process.signal(SIGTERM);
    CHECK(process.wait().status == 128 + SIGTERM);  // else the first signal's
  }
}

TEST_CASE("cli: a signal ends a start that takes long at once") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  bool in_time = false;
  for (int attempt = 0; attempt < 10 && !in_time; ++attempt) {  // the signal may come after the start
    Process process({"-v", "--kernel", kernel, "--memory=512M,prefault,mergeable"});
    REQUIRE(Process::wait_until([&] { return resident_pages(process) > 4096; }));
    process.signal(SIGTERM);
    const Ending ending = process.wait();
    CHECK(ending.status == 128 + SIGTERM);
    in_time = ending.errors.empty();  // else a VM has run, which -v shows
  }
  CHECK(in_time);
}

TEST_CASE("cli: a signal ends the VM, and the pidfile goes with it") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  const std::string pidfile = directory.file("pid");
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    CAPTURE(signal);
    Process process({"--kernel", kernel, "--pidfile", pidfile});
    REQUIRE(is_running(process, pidfile));
    CHECK(read_file(pidfile) == std::to_string(process.pid()) + "\n");
    process.signal(signal);
    CHECK(process.wait().status == 128 + signal);
    CHECK_FALSE(exists(pidfile));
  }
}

TEST_CASE("cli: a second VM cannot have the pidfile") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  const std::string pidfile = directory.file("pid");
  const Process first({"--kernel", kernel, "--pidfile", pidfile});
  REQUIRE(is_running(first, pidfile));
  CHECK(run({"--kernel", kernel, "--pidfile", pidfile}).status == 75);
  CHECK(exists(pidfile));
}

TEST_CASE("[case 168] cli: streams that are closed at the start are never a device's") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  const std::string pidfile = directory.file("pid");
  const Process process({"--kernel", kernel, "--pidfile", pidfile}, {.closed = {0, 1, 2}});
  REQUIRE(is_running(process, pidfile));
  for (const char* const stream : {"0", "1", "2"}) {
    const std::string link = "/proc/" + std::to_string(process.pid()) + "/fd/" + stream;
    CHECK(std::filesystem::read_symlink(link) == "/dev/null");
  }
}

TEST_CASE("cli: on a terminal the input is raw, Ctrl-a x leaves, and the terminal is as before") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  const std::string pidfile = directory.file("pid");
  Process process({"--kernel", kernel, "--pidfile", pidfile}, {.terminal = true});
  const tcflag_t before = local_modes(process.terminal());
  REQUIRE(is_running(process, pidfile));
  REQUIRE(Process::wait_until([&] { return (local_modes(process.terminal()) & ICANON) == 0; }));
  process.type("\x01x");
  REQUIRE(Process::wait_until([&] { return !exists(pidfile); }));
  CHECK(local_modes(process.terminal()) == before);
  const Ending ending = process.wait();
  CHECK(ending.status == 130);
  CHECK_THAT(ending.output, Contains("Ctrl-a x leaves"));
}

TEST_CASE("cli: a signal restores the terminal, too") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  const std::string pidfile = directory.file("pid");
  Process process({"--kernel", kernel, "--pidfile", pidfile}, {.terminal = true});
  const tcflag_t before = local_modes(process.terminal());
  REQUIRE(is_running(process, pidfile));
  REQUIRE(Process::wait_until([&] { return (local_modes(process.terminal()) & ICANON) == 0; }));
  process.signal(SIGTERM);
  REQUIRE(Process::wait_until([&] { return !exists(pidfile); }));
  CHECK(local_modes(process.terminal()) == before);
  CHECK(process.wait().status == 128 + SIGTERM);
}

TEST_CASE("cli: in raw mode only the terminal's own lines return the carriage") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kEarlyconLine));
  const std::vector<std::string> arguments = {"--kernel", kernel, "--earlycon"};
  const std::string errors = directory.file("errors");
  const auto redirect = [&] {
    const int fd = ::open(errors.c_str(), O_WRONLY | O_CREAT, 0600);
    if (::dup2(fd, STDERR_FILENO) < 0) ::_exit(1);
  };
  CHECK(run(arguments, {.terminal = true, .before_exec = redirect}).status == 0);
  CHECK(read_file(errors) == "uvmm: Ctrl-a x leaves\nwarning: earlycon: !\n");
}

TEST_CASE("cli: sockets of console and vsock are gone when uvmm is, however the VM ended") {
  need_kvm();
  const Directory directory;
  const std::string console = directory.file("console");
  const std::string vsock = directory.file("vsock");
  const std::vector<std::string> sockets = {console, vsock, vsock + "_seqpacket"};
  const std::string console_option = "unix=" + console;
  const std::string vsock_option = "3,path=" + vsock;
  const std::string powers_off = directory.write("powers-off", payload(kPowerOff));
  CHECK(run({"--kernel", powers_off, "--console", console_option, "--vsock", vsock_option}).status == 0);
  for (const std::string& socket : sockets) CHECK_FALSE(exists(socket));

  const std::string idles = directory.write("idles", payload(kIdle));
  const std::string pidfile = directory.file("pid");
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    Process process(
        {"--kernel", idles, "--console", console_option, "--vsock", vsock_option, "--pidfile", pidfile});
    REQUIRE(is_running(process, pidfile));
    for (const std::string& socket : sockets) REQUIRE(exists(socket));
    process.signal(signal);
    CHECK(process.wait().status == 128 + signal);
    for (const std::string& socket : sockets) CHECK_FALSE(exists(socket));
  }
}

TEST_CASE("[case 169] cli: a console socket's path that is taken") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const std::string file = directory.write("file", "precious");
  const Ending regular = run({"--kernel", kernel, "--console", "unix=" + file});
  CHECK((regular.status == 73 || regular.status == 75));
  CHECK(read_file(file) == "precious");

  const std::string path = directory.file("live");
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(::listen(listener, 1) == 0);
  const Ending live = run({"--kernel", kernel, "--console", "unix=" + path});
  CHECK((live.status == 73 || live.status == 75));
  CHECK(exists(path));
  ::close(listener);
}
