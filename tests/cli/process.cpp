// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/process.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/fakes/skip.h"

namespace uvmm::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void become(std::vector<std::string> arguments, const Process::Options& options) {
  std::vector<char*> argv = {const_cast<char*>("uvmm")};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (options.before_exec) options.before_exec();
  for (const int stream : options.closed) ::close(stream);
  ::execv(UVMM_COMMAND, argv.data());
  ::_exit(127);
}

}  // namespace

Process::Process(std::vector<std::string> arguments, const Options& options) {
  if (options.terminal) {
    const winsize size = {.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    pid_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    if (pid_ == 0) become(std::move(arguments), options);
    return;
  }
  int input[2], output[2], errors[2];
  for (int* const ends : {input, output, errors}) {
    if (::pipe2(ends, O_CLOEXEC) < 0) std::abort();
  }
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(input[0], STDIN_FILENO);
    ::dup2(output[1], STDOUT_FILENO);
    ::dup2(errors[1], STDERR_FILENO);
    become(std::move(arguments), options);
  }
  for (const int end : {input[0], output[1], errors[1]}) ::close(end);
  if (::write(input[1], options.input.data(), options.input.size()) < 0) std::abort();
  ::close(input[1]);
  output_ = output[0];
  errors_ = errors[0];
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  for (const int end : {output_, errors_, terminal_}) {
    if (end >= 0) ::close(end);
  }
}

void Process::signal(int number) const {
  ::kill(pid_, number);
}

void Process::type(std::string_view text) const {
  if (::write(terminal_, text.data(), text.size()) < 0) std::abort();
}

bool Process::wait_until(const std::function<bool()>& condition) {
  for (const auto end = Clock::now() + std::chrono::seconds(10); Clock::now() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

bool Process::read_some(int timeout_ms) {
  pollfd streams[] = {{output_ >= 0 ? output_ : terminal_, POLLIN, 0}, {errors_, POLLIN, 0}};
  if (::poll(streams, 2, timeout_ms) <= 0) return false;
  bool any = false;
  for (const pollfd& stream : streams) {
    char bytes[4096];
    const ssize_t got = stream.revents != 0 ? ::read(stream.fd, bytes, sizeof(bytes)) : 0;
    if (got <= 0) continue;
    any = true;
    (stream.fd == errors_ ? ending_.errors : ending_.output).append(bytes, static_cast<std::size_t>(got));
  }
  return any;
}

Ending Process::wait() {
  int status = 0;
  const auto give_up = Clock::now() + std::chrono::seconds(20);
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > give_up) ::kill(pid_, SIGKILL);
    if (!read_some(5)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  pid_ = -1;
  while (read_some(0)) {
  }
  ending_.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ending_;
}

Ending run(std::vector<std::string> arguments) {
  return run(std::move(arguments), {});
}

Ending run(std::vector<std::string> arguments, const Process::Options& options) {
  return Process(std::move(arguments), options).wait();
}

Directory::Directory() {
  if (!::mkdtemp(path_.data())) std::abort();
}

Directory::~Directory() {
  std::filesystem::remove_all(path_);
}

std::string Directory::write(std::string_view name, std::string_view content) const {
  std::ofstream(file(name), std::ios::binary) << content;
  return file(name);
}

void need_kvm() {
  if (::access("/dev/kvm", R_OK | W_OK) != 0) skip("no access to /dev/kvm");
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

}  // namespace uvmm::test
