// SPDX-License-Identifier: Apache-2.0
// What tests of the loader work on: files in a directory of their own, and guest RAM that is new.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "boot/mapping.h"
#include "vmm/base/guest_memory.h"
#include "vmm/base/types.h"

namespace uvmm {

// Removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  std::string path(std::string_view name) const { return path_ + "/" + std::string(name); }
  // Writes a file and returns its path.
  std::string file(std::string_view name, std::span<const u8> content) const;
  std::string file(std::string_view name, std::string_view content) const;
  // A file of `bytes` that takes no room.
  std::string sparse_file(std::string_view name, u64 bytes) const;

 private:
  std::string path_;
};

std::vector<u8> read_file(const std::string& path);

// Runs a shell command and returns its exit status.
int run(const std::string& command);
bool has_command(const std::string& name);

// Low RAM from address 0 on, in private memory of this process. Pages that no one writes take no room.
class BootRam {
 public:
  explicit BootRam(u64 bytes = 64_MiB);

  const GuestMemory& memory() const { return memory_; }
  std::vector<u8> bytes(u64 start, u64 length) const;
  std::string text(u64 start, u64 length) const;

 private:
  Mapping low_;
  GuestMemory memory_;
};

// `bytes` that compress, but not to nothing; the same for the same seed.
std::vector<u8> pattern(u64 bytes, u32 seed = 1);

}  // namespace uvmm
