// SPDX-License-Identifier: Apache-2.0
// measure: times commands from outside, in turn, so that what disturbs one disturbs all. Prints a line for
// each run: the command's number and microseconds; with --to-first-run also microseconds of processor time
// and page faults.
//
//   measure [--runs N] SPAN -- COMMAND... [-- COMMAND...]...
//
//   --to-first-run   from exec to the first KVM_RUN, then kills it
//   --to TEXT        from exec to TEXT on its standard output, then kills it
//   --from TEXT      from TEXT on its standard output to its end, as its parent learns of it
//
// The first KVM_RUN is caught by a seccomp filter, which holds the command's thread and tells us. The filter
// costs a few tens of nanoseconds a system call, the same for every command; a tracer would cost
// microseconds, and tracepoints need a privileged user.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace {

enum class Span { kToFirstRun, kToText, kFromText };

struct Options {
  Span span = Span::kToFirstRun;
  std::string text;
  int runs = 9;
  std::vector<std::vector<char*>> commands;  // each ends with a null pointer
};

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "measure: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

[[noreturn]] void usage() {
  std::fputs(
      "usage: measure [--runs N] --to-first-run | --to TEXT | --from TEXT -- COMMAND... [-- COMMAND...]...\n",
      stderr);
  std::exit(64);
}

std::int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

// Shared with the child: when it called exec, the processor time it had taken by then, and the descriptor
// that tells of its KVM_RUN.
struct Shared {
  std::int64_t exec_ns;
  std::int64_t exec_processor_ns;
  int listener;
};

struct Child {
  pid_t pid;
  int output;    // its standard output
  int listener;  // -1 if its first KVM_RUN is not waited for
};

int install_filter() {
  constexpr auto kIoctlNumber = offsetof(seccomp_data, nr);
  constexpr auto kRequest = offsetof(seccomp_data, args[1]);
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIoctlNumber),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 3),
                        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kRequest),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{.len = std::size(code), .filter = code};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

[[noreturn]] void run_child(char* const* command, Shared& shared, int output, int go, bool filtered) {
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  if (filtered) shared.listener = install_filter();
  const char ready = 0;
  if (::write(go, &ready, 1) != 1) ::_exit(127);
  char answer;
  if (filtered && ::read(go, &answer, 1) != 1) ::_exit(127);
  shared.exec_processor_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
  shared.exec_ns = now_ns();
  ::execvp(command[0], command);
  std::fprintf(stderr, "measure: cannot run %s: %s\n", command[0], std::strerror(errno));
  ::_exit(127);
}

Child start(char* const* command, Shared& shared, bool filtered) {
  int output[2], go[2];
  if (::pipe2(output, O_CLOEXEC) != 0 || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go) != 0)
    die("cannot create a pipe");
  const pid_t pid = ::fork();
  if (pid < 0) die("cannot fork");
  if (pid == 0) run_child(command, shared, output[1], go[1], filtered);
  ::close(output[1]);
  ::close(go[1]);

  Child child{pid, output[0], -1};
  char byte;
  if (::read(go[0], &byte, 1) != 1) die("the child did not start");
  if (filtered) {
    const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    child.listener = static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, shared.listener, 0));
    if (child.listener < 0) die("cannot watch for KVM_RUN");
    ::close(pidfd);
    if (::write(go[0], &byte, 1) != 1) die("the child did not start");
  }
  ::close(go[0]);
  return child;
}

// False if the command ends without it.
bool wait_for_first_run(const Child& child) {
  pollfd poll{.fd = child.listener, .events = POLLIN};
  while (::poll(&poll, 1, -1) < 0 && errno == EINTR) {
  }
  return (poll.revents & POLLIN) != 0;
}

bool wait_for_text(const Child& child, std::string_view text) {
  std::string seen;
  char buffer[4096];
  while (true) {
    const ssize_t bytes = ::read(child.output, buffer, sizeof buffer);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return false;
    seen.append(buffer, static_cast<std::size_t>(bytes));
    if (seen.find(text) != std::string::npos) return true;
    if (seen.size() > text.size()) seen.erase(0, seen.size() - text.size());
  }
}

// Minor page faults so far, field 10 of /proc/PID/stat. The process's name, field 2, is in parentheses.
long page_faults(pid_t pid) {
  char text[1024];
  std::snprintf(text, sizeof text, "/proc/%d/stat", pid);
  const int file = ::open(text, O_RDONLY | O_CLOEXEC);
  const ssize_t bytes = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (bytes <= 0) return -1;
  text[bytes] = 0;
  const char* const after_name = std::strrchr(text, ')');
  long faults = -1;
  if (!after_name || std::sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %ld", &faults) != 1) return -1;
  return faults;
}

void reap(const Child& child) {
  int status;
  while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
  }
  ::close(child.output);
  if (child.listener >= 0) ::close(child.listener);
}

struct Sample {
  std::int64_t ns = -1;  // -1: the command ended without doing what was waited for
  // Until the first KVM_RUN, if that is what was waited for. Processor time is that of all threads.
  std::int64_t processor_ns = -1;
  long faults = -1;
};

Sample measure(const Options& options, char* const* command, Shared& shared) {
  const bool filtered = options.span == Span::kToFirstRun;
  const Child child = start(command, shared, filtered);
  const bool reached = filtered ? wait_for_first_run(child) : wait_for_text(child, options.text);
  const std::int64_t reached_ns = now_ns();
  Sample sample;
  if (reached && filtered) {
    clockid_t clock;
    if (::clock_getcpuclockid(child.pid, &clock) == 0)
      sample.processor_ns = now_ns(clock) - shared.exec_processor_ns;
    sample.faults = page_faults(child.pid);
  }
  if (reached && options.span != Span::kFromText) ::kill(child.pid, SIGKILL);
  reap(child);
  const std::int64_t ended_ns = now_ns();
  if (reached)
    sample.ns = options.span == Span::kFromText ? ended_ns - reached_ns : reached_ns - shared.exec_ns;
  return sample;
}

Options parse(int argc, char** argv) {
  Options options;
  bool chosen = false;
  int i = 1;
  for (; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--to-first-run") {
      chosen = true;
      continue;
    }
    if (i + 1 == argc) usage();
    const char* const value = argv[++i];
    if (argument == "--runs") {
      options.runs = std::atoi(value);
    } else if (argument == "--to" || argument == "--from") {
      options.span = argument == "--to" ? Span::kToText : Span::kFromText;
      options.text = value;
      chosen = true;
    } else {
      usage();
    }
  }
  for (; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--") {
      options.commands.emplace_back();
    } else {
      options.commands.back().push_back(argv[i]);
    }
  }
  if (!chosen || options.commands.empty() || options.runs < 1) usage();
  for (auto& command : options.commands) {
    if (command.empty()) usage();
    command.push_back(nullptr);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  void* const page =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) die("cannot map memory");
  Shared& shared = *static_cast<Shared*>(page);
  for (int run = 0; run < options.runs; ++run) {
    for (std::size_t i = 0; i < options.commands.size(); ++i) {
      const Sample sample = measure(options, options.commands[i].data(), shared);
      if (sample.ns < 0) {
        std::fprintf(stderr, "measure: %s ended before what was waited for\n", options.commands[i][0]);
        return 1;
      }
      std::printf("%zu %.1f", i, static_cast<double>(sample.ns) / 1000);
      if (options.span == Span::kToFirstRun)
        std::printf(" %.1f %ld", static_cast<double>(sample.processor_ns) / 1000, sample.faults);
      std::putchar('\n');
      std::fflush(stdout);
    }
  }
  return 0;
}
