// SPDX-License-Identifier: Apache-2.0
// What a payload, a guest without an operating system, has to work with. One vCPU (cpu.h has the others), no
// interrupts, the first 4 GiB mapped to themselves.
//
// Where KVM emulates kernel code it does so for general-purpose instructions only, at one to two million a
// second: no SSE, no popcnt, no int3, and loops of a few hundred thousand turns at most.
#pragma once

#include <cstddef>

#include "arch/x86_64/layout.h"
#include "vmm/base/types.h"

extern "C" void* memcpy(void* to, const void* from, std::size_t bytes);
extern "C" void* memset(void* to, int value, std::size_t bytes);
extern "C" int memcmp(const void* a, const void* b, std::size_t bytes);

namespace payload {

using namespace uvmm;

// Each payload defines it. To return is to power off.
void run();

template <typename T>
T in(u16 port) {
  T value;
  asm volatile("in %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
template <typename T>
void out(u16 port, T value) {
  asm volatile("out %0, %1" : : "a"(value), "Nd"(port));
}

template <typename T>
T mmio_read(u64 at) {
  return *reinterpret_cast<volatile T*>(at);
}
template <typename T>
void mmio_write(u64 at, T value) {
  *reinterpret_cast<volatile T*>(at) = value;
}

u64 read_msr(u32 msr);
void write_msr(u32 msr, u64 value);

struct CpuidLeaf {
  u32 eax, ebx, ecx, edx;
};
CpuidLeaf cpuid(u32 leaf, u32 subleaf = 0);

// The memory map in boot_params.
struct MemoryRange {
  u64 start;
  u64 bytes;
  bool ram;
};
u32 memory_range_count();
MemoryRange memory_range(u32 index);

// Maps the 2 MiB around `gpa` to themselves, for addresses above 4 GiB.
void map(u64 gpa);

// The number behind "NAME=" on the kernel command line, or `otherwise`.
u64 parameter(const char* name, u64 otherwise);

// Goes on at CPL 3, for good, with all that is mapped and all I/O ports still at hand: that code runs at full
// speed even where KVM emulates kernel code.
void leave_kernel_mode();

// Zeroed, at `alignment`, a power of two, up to a page.
void* allocate(std::size_t bytes, std::size_t alignment);
// How much is allocated, and back to that: for what is set up again and again.
std::size_t allocated();
void release_down_to(std::size_t allocated);

// To the virtio console where there is one, else to the early debug port. print("port ", hex(0x60), "\n").
struct Hex {
  u64 value;
};
constexpr Hex hex(u64 value) {
  return {value};
}
void print_one(const char* text);
void print_one(char character);
void print_one(u64 number);
void print_one(Hex number);
inline void print_one(u32 number) {
  print_one(u64{number});
}

// Sends what was printed. Done at each end of line and before the guest's end.
void flush();

template <typename... Parts>
void print(const Parts&... parts) {
  (print_one(parts), ...);
}

[[noreturn]] void power_off();
[[noreturn]] void reset();
[[noreturn]] void triple_fault();
[[noreturn]] void halt();

// Says what is wrong and powers off. The word FAIL is what tests look for.
template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  print("FAIL: ", parts..., "\n");
  power_off();
}

}  // namespace payload
