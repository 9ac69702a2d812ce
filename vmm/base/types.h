// SPDX-License-Identifier: Apache-2.0
// The numbers everything is counted in. Values only.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace uvmm {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

// A guest-physical address. Convert with address() and guest() only, so that it never mixes with a host
// pointer or a length by accident.
enum class GuestAddress : u64 {};

constexpr u64 address(GuestAddress gpa) {
  return static_cast<u64>(gpa);
}
constexpr GuestAddress guest(u64 gpa) {
  return static_cast<GuestAddress>(gpa);
}
constexpr GuestAddress operator+(GuestAddress gpa, u64 bytes) {
  return guest(address(gpa) + bytes);
}

// Little-endian on the wire and in guest memory. The only hosts are little-endian, which makes these names
// documentation; a big-endian port starts here.
static_assert(std::endian::native == std::endian::little);
using le16 = u16;
using le32 = u32;
using le64 = u64;

constexpr u64 operator""_KiB(unsigned long long n) {
  return n << 10;
}
constexpr u64 operator""_MiB(unsigned long long n) {
  return n << 20;
}
constexpr u64 operator""_GiB(unsigned long long n) {
  return n << 30;
}

// `alignment` is a power of two.
constexpr u64 align_up(u64 value, u64 alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr u64 align_down(u64 value, u64 alignment) {
  return value & ~(alignment - 1);
}

inline constexpr u64 kPageSize = 4_KiB;

}  // namespace uvmm
