// SPDX-License-Identifier: Apache-2.0
#include "vmm/base/place.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace uvmm {
namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/uvmm-place-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

TEST_CASE("place: links on the way are followed") {
  const Directory directory;
  std::filesystem::create_directory(directory.path + "/real");
  std::filesystem::create_directory_symlink("real", directory.path + "/link");
  std::ofstream(directory.path + "/real/file") << "";
  CHECK(real_path(directory.path + "/link/file") == directory.path + "/real/file");
  CHECK(real_place(directory.path + "/link/file") == directory.path + "/real/file");
  CHECK(real_path(directory.path + "/link/none").empty());
  CHECK(real_place(directory.path + "/link/none") == directory.path + "/real/none");
  CHECK(real_place(directory.path + "/link/none/nor/this") == directory.path + "/real/none/nor/this");
}

TEST_CASE("place: relative paths begin where the process is, and an empty one is nowhere") {
  const std::string here = std::filesystem::current_path();
  CHECK(real_place("not-there") == here + "/not-there");
  CHECK(real_place("./not-there/file") == here + "/not-there/file");
  CHECK(real_place("/not-there") == "/not-there");
  CHECK(real_place("").empty());
}

TEST_CASE("place: only what is below a directory lies in it") {
  CHECK(lies_in("/a/b", "/a"));
  CHECK(lies_in("/a/b/c", "/a"));
  CHECK_FALSE(lies_in("/a", "/a"));
  CHECK_FALSE(lies_in("/ab/c", "/a"));
  CHECK_FALSE(lies_in("", "/a"));
}

}  // namespace
}  // namespace uvmm
