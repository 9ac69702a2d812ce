// SPDX-License-Identifier: Apache-2.0
#include "devices/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <utility>

extern "C" char** environ;

namespace uvmm {
namespace {

// posix_spawn's two sets of options, given back at the end.
struct SpawnOptions {
  SpawnOptions(int socket, int standard_error) {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, standard_error, STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, socket, ChildProcess::kSocket);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, ChildProcess::kSocket + 1);

    ::posix_spawnattr_init(&attributes);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes,
                               POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;
  ~SpawnOptions() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

}  // namespace

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>& arguments, int socket,
                                         int standard_error) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  const SpawnOptions options(socket, standard_error);
  pid_t id = -1;
  const int error = ::posix_spawnp(&id, argv[0], &options.actions, &options.attributes, argv.data(), environ);
  if (error != 0) {
    const ErrorKind kind = error == ENOENT || error == EACCES ? ErrorKind::kUnavailable : ErrorKind::kHost;
    return fail(kind, "cannot start {}: {}", arguments[0], error_text(error));
  }
  return ChildProcess(id, Fd(static_cast<int>(::syscall(SYS_pidfd_open, id, 0))));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : id_(std::exchange(other.id_, -1)), pidfd_(std::move(other.pidfd_)) {}

ChildProcess::~ChildProcess() {
  if (id_ < 0) return;
  ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  while (::waitpid(id_, nullptr, 0) < 0 && errno == EINTR) continue;
}

}  // namespace uvmm
