// SPDX-License-Identifier: Apache-2.0
// Process: the uvmm command as a child process, with pipes or a terminal, and what became of it. One thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace uvmm::test {

struct Ending {
  int status = 0;  // exit status; 128 + signal if a signal killed it
  std::string output;
  std::string errors;
};

class Process {
 public:
  struct Options {
    std::string input;                    // what its standard input has, a pipe
    bool terminal = false;                // all three streams are one terminal
    std::vector<int> closed;              // streams that are closed
    std::function<void()> before_exec{};  // in the child
  };

  explicit Process(std::vector<std::string> arguments) : Process(std::move(arguments), Options{}) {}
  Process(std::vector<std::string> arguments, const Options& options);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  int terminal() const { return terminal_; }  // the outer end

  void signal(int number) const;
  void type(std::string_view text) const;
  // Waits up to ten seconds; false if `condition` has not come true.
  static bool wait_until(const std::function<bool()>& condition);
  Ending wait();  // for its end; kills it after twenty seconds

 private:
  bool read_some(int timeout_ms);

  pid_t pid_ = -1;
  int output_ = -1;
  int errors_ = -1;
  int terminal_ = -1;
  Ending ending_;
};

// Runs it to its end.
Ending run(std::vector<std::string> arguments);
Ending run(std::vector<std::string> arguments, const Process::Options& options);

// A directory that is removed with all that is in it.
class Directory {
 public:
  Directory();
  ~Directory();
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::string write(std::string_view name, std::string_view content) const;

 private:
  std::string path_ = "/tmp/uvmm-cli-test-XXXXXX";
};

// Skips a test that starts a VM where there is no KVM; one that runs kernels at full speed it need not be.
void need_kvm();

std::string read_file(const std::string& path);
bool exists(const std::string& path);

}  // namespace uvmm::test
