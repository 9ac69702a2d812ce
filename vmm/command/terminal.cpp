// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

namespace uvmm::command {
namespace {

constexpr int kStreams[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
constexpr int kCrashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};

// A process has one controlling terminal, and a signal handler can only reach what is static.
termios cooked;
termios raw_mode;
int stream_flags[3];
std::atomic<bool> flags_saved = false;
std::atomic<bool> is_raw = false;

// tcsetattr() from the background would stop the process, unless it blocks the signal that does it.
void set_mode(const termios& mode) {
  sigset_t stop, before;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &stop, &before);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &mode);  // draining could wait for ever for a terminal that is stopped
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void on_crash(int signal) {
  Terminal::restore();
  ::raise(signal);  // SA_RESETHAND: the default action now
}

void restore_on_crash() {
  struct sigaction action{};
  action.sa_handler = on_crash;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  sigemptyset(&action.sa_mask);
  for (const int signal : kCrashes) ::sigaction(signal, &action, nullptr);
}

}  // namespace

Terminal::Terminal(bool raw) {
  for (const int stream : kStreams) stream_flags[stream] = ::fcntl(stream, F_GETFL);
  flags_saved = true;
  if (!raw || ::tcgetattr(STDIN_FILENO, &cooked) < 0) return;
  restore_on_crash();
  raw_mode = cooked;
  ::cfmakeraw(&raw_mode);
  is_raw = true;
  set_mode(raw_mode);
}

void Terminal::restore() {
  if (is_raw.exchange(false)) set_mode(cooked);
  if (!flags_saved.exchange(false)) return;
  for (const int stream : kStreams) {
    if (stream_flags[stream] >= 0) ::fcntl(stream, F_SETFL, stream_flags[stream]);
  }
}

void Terminal::resume() {
  if (is_raw && owns_input_terminal()) set_mode(raw_mode);
}

bool owns_input_terminal() {
  return ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
}

std::optional<WindowSize> window_size() {
  for (const int stream : {STDOUT_FILENO, STDIN_FILENO}) {
    winsize size{};
    if (::ioctl(stream, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
      return WindowSize{size.ws_col, size.ws_row};
    }
  }
  return std::nullopt;
}

}  // namespace uvmm::command
