// SPDX-License-Identifier: Apache-2.0
// The terminal is this process's own, so each test has a child process with a terminal of its own.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <csignal>
#include <functional>

#include "vmm/command/terminal.h"

using namespace uvmm::command;

namespace {

struct Child {
  int status = 0;       // as wait() has it
  tcflag_t before = 0;  // the terminal's local modes
  tcflag_t after = 0;
};

// Runs `body` in a child on a new terminal, until it exits or dies.
Child on_terminal(const std::function<int()>& body) {
  int outer = -1;
  int inner = -1;
  REQUIRE(::openpty(&outer, &inner, nullptr, nullptr, nullptr) == 0);
  Child child;
  termios mode{};
  REQUIRE(::tcgetattr(inner, &mode) == 0);
  child.before = mode.c_lflag;
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::login_tty(::dup(inner));
    for (const int crash : {SIGSEGV, SIGABRT}) ::signal(crash, SIG_DFL);
    ::_exit(body());
  }
  REQUIRE(::waitpid(pid, &child.status, 0) == pid);
  REQUIRE(::tcgetattr(inner, &mode) == 0);
  child.after = mode.c_lflag;
  ::close(inner);
  ::close(outer);
  return child;
}

bool input_is_raw() {
  termios mode{};
  ::tcgetattr(STDIN_FILENO, &mode);
  return (mode.c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

}  // namespace

TEST_CASE("terminal: raw while the object lives, restored with it") {
  const Child child = on_terminal([] {
    const Terminal terminal(true);
    return input_is_raw() && owns_input_terminal() ? 7 : 1;
  });
  CHECK(WEXITSTATUS(child.status) == 7);
  CHECK(child.after == child.before);
}

TEST_CASE("terminal: restored on a crash, which stays a crash") {
  for (const int crash : {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE}) {
    CAPTURE(crash);
    const Child child = on_terminal([crash] {
      const Terminal terminal(true);
      if (input_is_raw()) ::raise(crash);
      return 1;
    });
    CHECK(WIFSIGNALED(child.status));
    CHECK(WTERMSIG(child.status) == crash);
    CHECK(child.after == child.before);
  }
}

TEST_CASE("terminal: flags of the streams are as before") {
  const Child child = on_terminal([] {
    const int before = ::fcntl(STDIN_FILENO, F_GETFL);
    {
      const Terminal terminal(false);
      ::fcntl(STDIN_FILENO, F_SETFL, before | O_NONBLOCK);
    }
    return ::fcntl(STDIN_FILENO, F_GETFL) == before ? 7 : 1;
  });
  CHECK(WEXITSTATUS(child.status) == 7);
}

TEST_CASE("terminal: its size is found") {
  const Child child = on_terminal([] {
    const winsize size = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    ::ioctl(STDIN_FILENO, TIOCSWINSZ, &size);
    const auto found = window_size();
    return found && found->columns == 80 && found->rows == 24 ? 7 : 1;
  });
  CHECK(WEXITSTATUS(child.status) == 7);
}
