// SPDX-License-Identifier: Apache-2.0
#include "devices/child_process.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <optional>
#include <string>

namespace uvmm {
namespace {

// A shell that runs `script`, with a socket to us and its standard error in it, too.
struct Shell {
  explicit Shell(const std::string& script) {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    socket = Fd(pair[0]);
    const Fd theirs(pair[1]);
    auto started = ChildProcess::start({"sh", "-c", script}, theirs.get(), theirs.get());
    REQUIRE(started);
    child.emplace(std::move(*started));
  }
  // All that it writes until it ends.
  std::string output() const {
    std::string text;
    char buffer[4096];
    ssize_t bytes = 0;
    while ((bytes = ::read(socket.get(), buffer, sizeof buffer)) > 0) text.append(buffer, bytes);
    return text;
  }

  Fd socket;
  std::optional<ChildProcess> child;
};

}  // namespace

TEST_CASE("child process: it has its socket, its error stream and no other descriptor of ours") {
  // One that the kernel would pass on.
  const Fd inherited(::dup(STDERR_FILENO));
  const Shell shell(
      "[ /proc/self/fd/0 -ef /dev/null ] && [ /proc/self/fd/1 -ef /dev/null ] && echo oops >&2;"
      "exec >&3; exec ls -C /proc/self/fd");
  CHECK(shell.output() == "oops\n0  1  2  3  4\n");  // 4 is what ls reads
}

TEST_CASE("child process: it has a process group of its own") {
  const Shell shell("ps -o pgid= -p $$ >&3");
  CHECK(std::stoi(shell.output()) == shell.child->id());
}

TEST_CASE("child process: no signal is blocked or ignored for it") {
  struct sigaction before{};
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  sigset_t blocked, mask;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &mask);
  const Shell shell("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t' >&3");
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  ::sigaction(SIGPIPE, &before, nullptr);
  // The C library leaves its own two, 32 and 33, ignored.
  CHECK(shell.output() == "SigBlk:0000000000000000SigIgn:0000000180000000");
}

TEST_CASE("child process: it ends with its owner, and leaves no zombie") {
  Shell shell("trap '' TERM; echo ready >&3; while :; do sleep 1; done");
  char buffer[16];
  REQUIRE(::read(shell.socket.get(), buffer, sizeof buffer) == 6);
  const pid_t id = shell.child->id();
  REQUIRE(::kill(id, 0) == 0);
  shell.child.reset();
  CHECK(::kill(id, 0) == -1);
}

TEST_CASE("child process: one that ended by itself is no trouble") {
  Shell shell("exit 3");
  CHECK(shell.output().empty());
  shell.child.reset();
}

TEST_CASE("child process: a program that is not there is refused") {
  const auto started = ChildProcess::start({"no-such-program-here"}, 0, 2);
  REQUIRE_FALSE(started);
  CHECK(started.error().kind == ErrorKind::kUnavailable);
  CHECK(started.error().message == "cannot start no-such-program-here: No such file or directory");
}

}  // namespace uvmm
