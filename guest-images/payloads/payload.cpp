// SPDX-License-Identifier: Apache-2.0
#include "payload.h"

#include <asm/bootparam.h>

#include "virtio.h"

extern "C" void* memcpy(void* to, const void* from, std::size_t bytes) {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
  return result;
}

extern "C" void* memset(void* to, int value, std::size_t bytes) {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
  return result;
}

extern "C" int memcmp(const void* a, const void* b, std::size_t bytes) {
  const auto* const left = static_cast<const uvmm::u8*>(a);
  const auto* const right = static_cast<const uvmm::u8*>(b);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (left[i] != right[i]) return left[i] - right[i];
  }
  return 0;
}

namespace payload {
namespace {

const boot_params* boot = nullptr;

alignas(kPageSize) u8 heap[512_KiB];
std::size_t heap_used = 0;

// The line that is being printed.
char line[256];
u32 line_bytes = 0;

enum class Output { kUnknown, kConsole, kPort } output = Output::kUnknown;
VirtioDevice console;
VirtQueue console_transmit;

void open_output() {
  output = Output::kPort;
  constexpr u16 kConsoleId = 3, kTransmit = 1;
  if (!console.open(kConsoleId)) return;
  console.negotiate(0);
  console_transmit = console.set_up_queue(kTransmit);
  console.driver_ok();
  output = Output::kConsole;
}

}  // namespace

u64 read_msr(u32 msr) {
  u32 low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return u64{high} << 32 | low;
}

void write_msr(u32 msr, u64 value) {
  asm volatile("wrmsr" : : "c"(msr), "a"(u32(value)), "d"(u32(value >> 32)) : "memory");
}

CpuidLeaf cpuid(u32 leaf, u32 subleaf) {
  CpuidLeaf result;
  asm volatile("cpuid"
               : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
               : "a"(leaf), "c"(subleaf));
  return result;
}

u32 memory_range_count() {
  return boot->e820_entries;
}

MemoryRange memory_range(u32 index) {
  constexpr u32 kRam = 1;
  const boot_e820_entry& entry = boot->e820_table[index];
  return {entry.addr, entry.size, entry.type == kRam};
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  heap_used = align_up(heap_used, alignment);
  if (bytes > sizeof heap - heap_used) fail("no memory");
  void* const result = heap + heap_used;
  heap_used += bytes;
  return result;
}

std::size_t allocated() {
  return heap_used;
}

void release_down_to(std::size_t allocated) {
  memset(heap + allocated, 0, heap_used - allocated);
  heap_used = allocated;
}

void map(u64 gpa) {
  constexpr u64 kTable = 0x23, kLargePage = 0xe3, kPresent = 1;  // as the tables that the payload came with
  constexpr u64 kAddressMask = 0x000f'ffff'ffff'f000;
  const auto next = [](u64* entry) {
    if (!(*entry & kPresent)) *entry = reinterpret_cast<u64>(allocate(kPageSize, kPageSize)) | kTable;
    return reinterpret_cast<u64*>(*entry & kAddressMask);
  };
  if (gpa < 4_GiB) return;
  u64 cr3;
  asm volatile("mov %%cr3, %0" : "=r"(cr3));
  u64* const pointers = next(reinterpret_cast<u64*>(cr3) + (gpa >> 39 & 511));
  u64* const directory = next(pointers + (gpa >> 30 & 511));
  directory[gpa >> 21 & 511] = align_down(gpa, 2_MiB) | kLargePage;
  asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
}

u64 parameter(const char* name, u64 otherwise) {
  const auto* text = reinterpret_cast<const char*>(u64{boot->hdr.cmd_line_ptr});
  while (*text) {
    const char* wanted = name;
    while (*wanted && *text == *wanted) ++text, ++wanted;
    if (!*wanted && *text == '=') {
      u64 value = 0;
      while (*++text >= '0' && *text <= '9') value = value * 10 + u64(*text - '0');
      return value;
    }
    while (*text && *text != ' ') ++text;
    while (*text == ' ') ++text;
  }
  return otherwise;
}

void leave_kernel_mode() {
  // SDM, 4.6: a page is the user's if the entries of all levels say so.
  constexpr u64 kPresent = 1 << 0, kUser = 1 << 2, kLargePage = 1 << 7;
  constexpr u64 kAddressMask = 0x000f'ffff'ffff'f000;
  u64 cr3;
  asm volatile("mov %%cr3, %0" : "=r"(cr3));
  const auto open = [](u64 table, auto& self, int level) -> void {
    auto* const entries = reinterpret_cast<u64*>(table & kAddressMask);
    for (u32 i = 0; i < 512; ++i) {
      if (!(entries[i] & kPresent)) continue;
      entries[i] |= kUser;
      if (level > 2 && !(entries[i] & kLargePage)) self(entries[i], self, level - 1);
    }
  };
  open(cr3, open, 4);
  asm volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");

  // SDM, 5.8.8: SYSRET goes to the segments that STAR names, without a look at a GDT.
  constexpr u32 kEfer = 0xc000'0080, kStar = 0xc000'0081;
  constexpr u64 kUserSegments = 0x23, kSyscallEnabled = 1;
  constexpr u64 kFlags = 3 << 12 | 1 << 1;  // IOPL 3; bit 1 is always set
  write_msr(kEfer, read_msr(kEfer) | kSyscallEnabled);
  write_msr(kStar, kUserSegments << 48);
  asm volatile(
      "mov %0, %%r11\n"
      "lea 1f(%%rip), %%rcx\n"
      "sysretq\n"
      "1:"
      :
      : "r"(kFlags)
      : "rcx", "r11", "memory");
}

void flush() {
  if (line_bytes == 0) return;
  if (output == Output::kUnknown) open_output();
  if (output == Output::kConsole) {
    console_transmit.transfer({{line, line_bytes, false}});
  } else {
    for (u32 i = 0; i < line_bytes; ++i) out(layout::kEarlyconPort, u8(line[i]));
  }
  line_bytes = 0;
}

void print_one(char character) {
  line[line_bytes++] = character;
  if (character == '\n' || line_bytes == sizeof line) flush();
}

void print_one(const char* text) {
  while (*text) print_one(*text++);
}

void print_one(u64 number) {
  if (number >= 10) print_one(number / 10);
  print_one(char('0' + number % 10));
}

void print_one(Hex number) {
  if (number.value >= 16) print_one(Hex{number.value >> 4});
  print_one("0123456789abcdef"[number.value & 15]);
}

void halt() {
  for (;;) asm volatile("hlt");
}

void power_off() {
  flush();
  out(layout::kSleepControlPort, u8(layout::kSleepTypeOff << 2 | layout::kSleepEnable));
  halt();
}

void reset() {
  flush();
  out(layout::kResetPort, layout::kResetValue);
  halt();
}

void triple_fault() {
  flush();
  // Without an IDT the exception meets another one, and that a third.
  asm volatile("ud2");
  halt();
}

extern "C" void payload_start(const boot_params* params) {
  boot = params;
  run();
  power_off();
}

}  // namespace payload
