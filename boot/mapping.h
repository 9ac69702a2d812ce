// SPDX-License-Identifier: Apache-2.0
// Mapping: owned pages of this process, unmapped on destruction. Move-only; any one thread at a time.
#pragma once

#include <sys/mman.h>

#include <span>
#include <utility>

#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  }

  // Zeroed memory that takes up room only where it is written.
  static Result<Mapping> anonymous(u64 bytes) { return map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1); }

  // The same, but all of it is there at once: for what is written everywhere, since that is a page fault for
  // each page less.
  static Result<Mapping> populated(u64 bytes) {
    return map(bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1);
  }

  // The first `bytes` of a file that nobody else can cut short.
  static Result<Mapping> shared(int fd, u64 bytes) { return map(bytes, MAP_SHARED, fd); }

  std::span<u8> bytes() const { return bytes_; }

 private:
  static Result<Mapping> map(u64 bytes, int flags, int fd) {
    void* const start = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
    if (start == MAP_FAILED)
      return fail(ErrorKind::kHost, "cannot map {} bytes: {}", bytes, error_text(errno));
    Mapping mapping;
    mapping.bytes_ = {static_cast<u8*>(start), bytes};
    return mapping;
  }

  std::span<u8> bytes_;
};

}  // namespace uvmm
