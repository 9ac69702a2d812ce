// SPDX-License-Identifier: Apache-2.0
// GuestRam: the guest's RAM, as memory of this process. Created before the VM and unmapped after it;
// move-only.
#pragma once

#include <span>
#include <utility>

#include <uvmm/uvmm.hpp>

#include "vmm/base/guest_memory.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

class GuestRam {
 public:
  // By default anonymous and private with transparent huge pages, and nothing of it taken before it is
  // touched.
  static Result<GuestRam> create(const MemoryConfig& config);

  GuestRam(GuestRam&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), is_private_(other.is_private_) {}
  GuestRam& operator=(GuestRam&&) = delete;
  ~GuestRam();

  // As the guest sees it: one region or two (arch/x86_64/layout.h).
  GuestMemory memory() const;

  // Whether pages of files may be mapped over it.
  bool may_map() const { return is_private_; }

 private:
  GuestRam(std::span<u8> bytes, bool is_private) : bytes_(bytes), is_private_(is_private) {}

  std::span<u8> bytes_;
  bool is_private_;
};

}  // namespace uvmm
