// SPDX-License-Identifier: Apache-2.0
// TinyMachine: KVM, RAM, vCPUs and a record of what the guest does outside its RAM; nothing else. For a test
// with /dev/kvm and a few instructions of guest code. Records on the vCPUs' threads, is read after join().
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "arch/x86_64/platform.h"
#include "vmm/kvm/msi_routes.h"
#include "vmm/vcpu.h"

namespace uvmm {

// Guest code between two labels of the test's assembly: `GUEST_CODE(name, "hlt")`. Entered in long mode.
#define GUEST_CODE(name, assembly)                                            \
  extern "C" const u8 name##_begin[], name##_end[];                           \
  asm(".pushsection .rodata\n" #name "_begin:\n.code64\n" assembly "\n" #name \
      "_end:\n"                                                               \
      ".popsection");                                                         \
  inline std::span<const u8> name() {                                         \
    return {name##_begin, name##_end};                                        \
  }

// A Result's value, or the end of the test.
template <typename T>
T value_of(Result<T> result) {
  if (!result) FAIL(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class TinyMachine final : public ExitHandler {
 public:
  static constexpr u64 kEntry = 1_MiB;
  static constexpr u64 kHole = 0xD000'0000;  // nothing is there
  static constexpr u64 kReadOnlyPage = 0xD100'0000;
  static constexpr u16 kStopPort = 0x601;

  struct Access {
    enum class Kind : u8 { kPioRead, kPioWrite, kMmioRead, kMmioWrite } kind;
    u64 address;
    std::vector<u8> bytes;  // as written, or as answered
    bool operator==(const Access&) const = default;
  };

  explicit TinyMachine(std::span<const u8> code, u32 cpus = 1);

  // Starts the vCPUs, waits for the guest to write to kStopPort or for one to end, and joins all of them.
  void run();
  void start();
  // False if it takes longer than that.
  bool wait(std::chrono::milliseconds limit);
  bool wait_for_accesses(std::size_t count);
  void stop_and_join();

  void pio_read(u16 port, std::span<u8> bytes) override { read(Access::Kind::kPioRead, port, bytes); }
  void pio_write(u16 port, std::span<const u8> bytes) override;
  void mmio_read(GuestAddress gpa, std::span<u8> bytes) override {
    read(Access::Kind::kMmioRead, address(gpa), bytes);
  }
  void mmio_write(GuestAddress gpa, std::span<const u8> bytes) override {
    write(Access::Kind::kMmioWrite, address(gpa), bytes);
  }
  void ended(VcpuEnd reason, std::string detail) override;

  const GuestMemory& memory() const { return memory_; }
  std::span<u8> read_only_page() { return std::span(ram_).last(kPageSize); }
  VcpuThread& vcpu(u32 index) { return vcpus_[index]; }
  const kvm::Vm& vm() const { return vm_; }

  u8 answer = 0xff;  // every byte of every read
  std::vector<Access> accesses;
  std::vector<std::pair<VcpuEnd, std::string>> ends;

 private:
  void read(Access::Kind kind, u64 at, std::span<u8> bytes);
  void write(Access::Kind kind, u64 at, std::span<const u8> bytes);
  void finish();

  static constexpr u64 kRamBytes = 2_MiB;

  std::vector<u8> storage_;  // page-aligned RAM within, and one more page
  std::span<u8> ram_;
  GuestMemory memory_;
  kvm::System system_;
  kvm::Vm vm_;
  std::deque<VcpuThread> vcpus_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
};

}  // namespace uvmm
