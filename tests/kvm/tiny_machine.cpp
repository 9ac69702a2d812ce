// SPDX-License-Identifier: Apache-2.0
#include "tests/kvm/tiny_machine.h"

#include <algorithm>

#include "arch/x86_64/cpuid.h"

namespace uvmm {
namespace {

std::span<u8> aligned(std::vector<u8>& storage, u64 bytes) {
  const u64 start = reinterpret_cast<u64>(storage.data());
  return std::span(storage).subspan(align_up(start, kPageSize) - start, bytes);
}

}  // namespace

TinyMachine::TinyMachine(std::span<const u8> code, u32 cpus)
    : storage_(kRamBytes + 2 * kPageSize),
      ram_(aligned(storage_, kRamBytes + kPageSize)),
      memory_({{guest(0), ram_.first(kRamBytes)}}),
      system_(value_of(kvm::System::open())),
      vm_(value_of(system_.create_vm())) {
  std::ranges::copy(code, ram_.begin() + kEntry);
  value_of(vm_.set_user_memory_region(0, guest(0), ram_.first(kRamBytes), kvm::Vm::Access::kReadWrite));
  value_of(vm_.set_user_memory_region(1, guest(kReadOnlyPage), read_only_page(), kvm::Vm::Access::kReadOnly));
  value_of(arch::create_interrupt_controller(vm_, cpus));
  auto cpuid = value_of(arch::supported_cpuid(system_, cpus));
  for (u32 index = 0; index < cpus; ++index) {
    auto vcpu = value_of(vm_.create_vcpu(index));
    arch::set_apic_id(cpuid, index);
    value_of(arch::set_up_vcpu(vcpu, cpuid));
    if (index == 0) value_of(arch::set_up_entry(vcpu, memory_, guest(kEntry), cpuid));
    vcpus_.emplace_back(std::move(vcpu), index, memory_, *this);
  }
}

void TinyMachine::start() {
  for (VcpuThread& vcpu : vcpus_) value_of(vcpu.start());
}

bool TinyMachine::wait(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [this] { return finished_; });
}

bool TinyMachine::wait_for_accesses(std::size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return accesses.size() >= count; });
}

void TinyMachine::stop_and_join() {
  for (VcpuThread& vcpu : vcpus_) vcpu.stop();
  for (VcpuThread& vcpu : vcpus_) vcpu.join();
}

void TinyMachine::run() {
  start();
  const bool in_time = wait(std::chrono::seconds(10));
  stop_and_join();
  REQUIRE(in_time);
}

void TinyMachine::pio_write(u16 port, std::span<const u8> bytes) {
  write(Access::Kind::kPioWrite, port, bytes);
  if (port == kStopPort) finish();
}

void TinyMachine::ended(VcpuEnd reason, std::string detail) {
  {
    const std::lock_guard lock(mutex_);
    ends.emplace_back(reason, std::move(detail));
  }
  finish();
}

void TinyMachine::read(Access::Kind kind, u64 at, std::span<u8> bytes) {
  std::ranges::fill(bytes, answer);
  write(kind, at, bytes);
}

void TinyMachine::write(Access::Kind kind, u64 at, std::span<const u8> bytes) {
  const std::lock_guard lock(mutex_);
  accesses.push_back({kind, at, {bytes.begin(), bytes.end()}});
  changed_.notify_all();
}

void TinyMachine::finish() {
  for (VcpuThread& vcpu : vcpus_) vcpu.stop();
  const std::lock_guard lock(mutex_);
  finished_ = true;
  changed_.notify_all();
}

}  // namespace uvmm
