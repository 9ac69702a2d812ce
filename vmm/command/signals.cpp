// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/signals.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "vmm/command/failure.h"
#include "vmm/command/terminal.h"
#include "vmm/command/thread.h"

// The linker's: where the program's code begins and ends.
extern "C" char __executable_start;
extern "C" char etext;

namespace uvmm::command {
namespace {

constexpr std::size_t kStackBytes = 128 << 10;
constexpr int kExitOnSignal = 128;

std::atomic<int> first_signal = 0;

// A file as it is now: by the time that it is to be removed, another process may have one at its path.
class OwnFile {
 public:
  explicit OwnFile(const std::string& path) : path_(path) { ::lstat(path.c_str(), &status_); }
  void remove() const {
    struct stat current{};
    if (::lstat(path_.c_str(), &current) < 0) return;
    if (current.st_dev == status_.st_dev && current.st_ino == status_.st_ino) ::unlink(path_.c_str());
  }

 private:
  std::string path_;
  struct stat status_{};
};

struct Watch {
  Vm& vm;
  std::vector<OwnFile> files;
};

sigset_t watched;  // set before the thread starts

bool is_ignored(int signal) {
  struct sigaction action{};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// Reading options, files and images runs through most of the program once, and what it ran through stays
// mapped: 1.3 MiB of 1.8. The code that goes on running comes back by itself, from the page cache.
void forget_startup_code() {
  const long page = ::sysconf(_SC_PAGESIZE);
  char* const start = &__executable_start;
  const auto bytes = static_cast<std::size_t>(&etext - start) & ~(static_cast<std::size_t>(page) - 1);
  ::madvise(start, bytes, MADV_DONTNEED);  // a file's pages: only a debugger's breakpoints are lost
}

// The next signal. The start is over when none has come for a while.
int next_signal(const sigset_t& set, bool& starting) {
  constexpr timespec kStart = {.tv_sec = 1, .tv_nsec = 0};
  const int signal = ::sigtimedwait(&set, nullptr, starting ? &kStart : nullptr);
  if (signal < 0 && errno == EAGAIN) {
    forget_startup_code();
    starting = false;
  }
  return signal;
}

void tell_window_size(Vm& vm) {
  if (const auto size = window_size()) vm.resize_console(size->columns, size->rows);
}

[[noreturn]] void end_process(int signal, const Watch& watch) {
  Terminal::restore();
  for (const OwnFile& file : watch.files) file.remove();
  ::_exit(kExitOnSignal + signal);
}

void* watch_thread(void* argument) {
  const Watch& watch = *static_cast<Watch*>(argument);
  tell_window_size(watch.vm);
  bool starting = true;
  int signals = 0;  // that were to end the VM
  while (true) {
    const int signal = next_signal(watched, starting);
    if (signal < 0) continue;
    if (signal == SIGCONT) Terminal::resume();
    if (signal == SIGCONT || signal == SIGWINCH) {
      tell_window_size(watch.vm);
      continue;
    }
    if (++signals > 2) end_process(signal, watch);
    int none = 0;
    first_signal.compare_exchange_strong(none, signal);
    const bool asks = signals == 1 && (signal == SIGTERM || signal == SIGINT);
    if (asks)
      watch.vm.shut_down();
    else
      watch.vm.stop();
  }
}

}  // namespace

void block_signals() {
  sigemptyset(&watched);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    if (!is_ignored(signal)) sigaddset(&watched, signal);
  }
  for (const int signal : {SIGWINCH, SIGCONT}) sigaddset(&watched, signal);
  ::pthread_sigmask(SIG_BLOCK, &watched, nullptr);
}

Result<void> watch_signals(Vm& vm, const std::vector<std::string>& files) {
  auto* const watch = new Watch{vm, {files.begin(), files.end()}};  // the thread's, which never ends
  const Result<pthread_t> thread = start_thread(kStackBytes, watch_thread, watch);
  if (!thread) {
    delete watch;
    return std::unexpected(thread.error());
  }
  ::pthread_detach(*thread);
  return {};
}

int ending_signal() {
  return first_signal;
}

}  // namespace uvmm::command
