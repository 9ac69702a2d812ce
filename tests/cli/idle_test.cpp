// SPDX-License-Identifier: Apache-2.0
// What an idle VM costs.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/cli/payload.h"
#include "tests/cli/process.h"

using namespace uvmm::test;
using namespace std::chrono_literals;

namespace {

std::string field_of(const std::string& status, const std::string& name) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
  return {};
}

// How often each of the monitor's own threads has gone to sleep: those of vCPUs, and the kernel's, apart.
std::map<std::string, std::string> sleeps_of_own_threads(const Process& process) {
  std::map<std::string, std::string> sleeps;
  const std::string tasks = "/proc/" + std::to_string(process.pid()) + "/task";
  for (const auto& thread : std::filesystem::directory_iterator(tasks)) {
    const std::string status = read_file(thread.path() / "status");
    const std::string name = field_of(status, "Name");
    if (name.starts_with("vcpu") || name.starts_with("kvm-")) continue;
    sleeps[thread.path().filename()] = field_of(status, "voluntary_ctxt_switches");
  }
  return sleeps;
}

}  // namespace

TEST_CASE("cli: the threads of an idle VM, those of vCPUs apart, never wake up") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle));
  const std::string disk = directory.write("disk", std::string(1 << 20, '\0'));
  const std::string pidfile = directory.file("pid");
  std::vector<std::string> arguments = {"--kernel",  kernel,
                                        "--disk",    disk,
                                        "--pidfile", pidfile,
                                        "--share",   "/etc,ro",
                                        "--vsock",   "3,path=" + directory.file("vsock"),
                                        "--control", directory.file("control")};
  if (::access("/usr/bin/passt", X_OK) == 0) arguments.insert(arguments.end(), {"--net", "user"});
  const Process process(arguments);
  REQUIRE(Process::wait_until([&] { return exists(pidfile); }));

  // A second after the start something is done once: memory that only the start needed is given back.
  std::this_thread::sleep_for(1500ms);
  const auto before = sleeps_of_own_threads(process);
  std::this_thread::sleep_for(1s);
  CHECK(before.size() >= 2);  // for I/O, and for signals
  for (const auto& [thread, sleeps] : sleeps_of_own_threads(process)) {
    CAPTURE(thread);
    CHECK(sleeps == before.at(thread));
  }
}
