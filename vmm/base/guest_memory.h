// SPDX-License-Identifier: Apache-2.0
// GuestMemory: the one door to the guest's RAM. Every access is checked against the regions.
//
// The regions are fixed once the VM exists, so any thread may use it. The bytes themselves are shared with a
// guest that may change them at any time: copy out once with read(), decide on the copy.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "vmm/base/types.h"

namespace uvmm {

class GuestMemory {
 public:
  struct Region {
    GuestAddress start{};
    std::span<u8> bytes;  // where it is mapped in this process; borrowed
  };

  GuestMemory() = default;
  // `regions` are sorted by address, do not overlap, and none wraps around.
  explicit GuestMemory(std::vector<Region> regions) : regions_(std::move(regions)) {}

  std::span<const Region> regions() const { return regions_; }

  // The host's view of [gpa, gpa + length), or nothing unless all of it is RAM in one region.
  std::optional<std::span<u8>> slice(GuestAddress gpa, u64 length) const {
    const std::span<u8> run = prefix(gpa, length);
    if (run.size() != length) return std::nullopt;
    return run;
  }

  // The longest part of [gpa, gpa + length) that starts at gpa and lies in one region; empty if gpa is not
  // RAM. A buffer over two adjoining regions is met as two of these.
  std::span<u8> prefix(GuestAddress gpa, u64 length) const {
    for (const Region& region : regions_) {
      // Compared by subtraction from a checked start, so that nothing here can overflow.
      const u64 offset = address(gpa) - address(region.start);
      if (address(gpa) >= address(region.start) && offset < region.bytes.size()) {
        const u64 available = region.bytes.size() - offset;
        return region.bytes.subspan(offset, length < available ? length : available);
      }
    }
    return {};
  }

  // A copy of the T at gpa, taken once. gpa needs no alignment.
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  std::optional<T> read(GuestAddress gpa) const {
    const auto bytes = slice(gpa, sizeof(T));
    if (!bytes) return std::nullopt;
    T value;
    std::memcpy(&value, bytes->data(), sizeof(T));
    return value;
  }

  template <typename T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] bool write(GuestAddress gpa, const T& value) const {
    const auto bytes = slice(gpa, sizeof(T));
    if (!bytes) return false;
    std::memcpy(bytes->data(), &value, sizeof(T));
    return true;
  }

 private:
  std::vector<Region> regions_;
};

}  // namespace uvmm
