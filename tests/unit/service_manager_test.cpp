// SPDX-License-Identifier: Apache-2.0
// What a service manager hands over by the environment: descriptors by name, and a directory of credentials.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "vmm/command/credentials_directory.h"
#include "vmm/control/listen_fds.h"

namespace uvmm::command {
namespace {

// As long as it lives.
struct Variable {
  Variable(const char* variable, const std::string& value) : name(variable) {
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name); }
  const char* name;
};

TEST_CASE("service manager: a socket unit's descriptors are found by their names") {
  const Variable pid("LISTEN_PID", std::to_string(::getpid())), names("LISTEN_FDNAMES", "web:control");
  {
    const Variable count("LISTEN_FDS", "2");
    CHECK(control::passed_fd("web") == 3);
    CHECK(control::passed_fd("control") == 4);
    CHECK_FALSE(control::passed_fd("contro"));
    CHECK_FALSE(control::passed_fd(""));
  }
  const Variable fewer("LISTEN_FDS", "1");
  CHECK_FALSE(control::passed_fd("control"));
}

TEST_CASE("service manager: descriptors that another process was given are none") {
  const Variable count("LISTEN_FDS", "1"), names("LISTEN_FDNAMES", "control");
  CHECK_FALSE(control::passed_fd("control"));
  const Variable pid("LISTEN_PID", std::to_string(::getpid() + 1));
  CHECK_FALSE(control::passed_fd("control"));
}

TEST_CASE("service manager: its credentials are the guest's, those of the command line before them") {
  std::string directory = "/tmp/uvmm-credentials-XXXXXX";
  REQUIRE(::mkdtemp(directory.data()));
  for (const char* const id : {"/b", "/a", "/given"}) std::ofstream(directory + id) << id;
  std::vector<CredentialConfig> credentials = {{.id = "given", .path = "elsewhere"}};
  add_own_credentials(credentials);
  CHECK(credentials.size() == 1);
  const Variable variable("CREDENTIALS_DIRECTORY", directory);
  add_own_credentials(credentials);
  REQUIRE(credentials.size() == 3);
  CHECK(credentials[0].path == "elsewhere");
  CHECK((credentials[1].id == "a" && credentials[1].path == directory + "/a"));
  CHECK((credentials[2].id == "b" && credentials[2].path == directory + "/b"));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace uvmm::command
