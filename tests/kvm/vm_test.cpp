// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/vm.h"

#include <sys/eventfd.h>

#include <catch2/catch.hpp>
#include <uvmm/probe.hpp>

#include "arch/x86_64/layout.h"
#include "tests/kvm/tiny_machine.h"

namespace uvmm {
namespace {

GUEST_CODE(kick, R"(
  mov $0xd0000000, %ebx
  movw $1, (%rbx)
  movl $1, (%rbx)
  movw $1, 2(%rbx)
  mov $0x601, %dx
  out %al, %dx)")

// x2APIC on, an interrupt table at 0x3000 with gates for the vectors 0x41 and 0x45, then a write to port
// 0x80, and to sleep. Each handler writes its vector there. (To look for the interrupt in a loop would be
// simpler; but a guest that exits without a pause makes the emulated test host lose interrupts of its own.)
GUEST_CODE(wait_for_interrupt, R"(
  mov $0x1b, %ecx
  rdmsr
  or $0xc00, %eax
  wrmsr
  mov $0x80f, %ecx
  mov $0x1ff, %eax
  xor %edx, %edx
  wrmsr
  mov $0x4000, %esp
  lea handler_41(%rip), %rax
  mov $0x3410, %edi
  call set_gate
  lea handler_45(%rip), %rax
  mov $0x3450, %edi
  call set_gate
  movw $0xfff, 0x2000
  movq $0x3000, 0x2002
  lidt 0x2000
  mov $0x80, %dx
  out %al, %dx
  sti
1: hlt
  jmp 1b
set_gate:
  mov %ax, (%rdi)
  movl $0x8e000010, 2(%rdi)
  shr $16, %rax
  mov %ax, 6(%rdi)
  movq $0, 8(%rdi)
  ret
handler_41:
  mov $0x41, %al
  jmp 2f
handler_45:
  mov $0x45, %al
2: mov $0x80, %dx
  out %al, %dx
  mov $0x601, %dx
  out %al, %dx)")

u64 count_of(const Fd& event_fd) {
  eventfd_t count = 0;
  ::eventfd_read(event_fd.get(), &count);
  return count;
}

}  // namespace

TEST_CASE("kvm: an ioeventfd takes writes of any length to its address, and only those") {
  TinyMachine machine(kick());
  const Fd event_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  value_of(machine.vm().ioeventfd(guest(TinyMachine::kHole), event_fd.get()));
  machine.run();
  CHECK(count_of(event_fd) == 2);
  REQUIRE(machine.accesses.size() == 2);
  CHECK(machine.accesses[0].address == TinyMachine::kHole + 2);
}

TEST_CASE("kvm: an ioeventfd that is gone lets writes through") {
  TinyMachine machine(kick());
  const Fd event_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  value_of(machine.vm().ioeventfd(guest(TinyMachine::kHole), event_fd.get()));
  value_of(machine.vm().deassign_ioeventfd(guest(TinyMachine::kHole), event_fd.get()));
  machine.run();
  CHECK(count_of(event_fd) == 0);
  CHECK(machine.accesses.size() == 4);
}

TEST_CASE("kvm: a line's eventfd raises the vector that its message names") {
  TinyMachine machine(wait_for_interrupt());
  kvm::MsiRoutes routes(machine.vm(), false);
  value_of(routes.add_line());
  const InterruptLine line = value_of(routes.add_line());
  routes.route(line.gsi, {.address = 0xfee0'0000, .data = 0x45});
  REQUIRE(routes.commit());
  machine.start();
  REQUIRE(machine.wait_for_accesses(1));
  ::eventfd_write(line.event_fd, 1);
  REQUIRE(machine.wait(std::chrono::seconds(10)));
  machine.stop_and_join();
  CHECK(machine.accesses[1].bytes == std::vector<u8>{0x45});
}

TEST_CASE("kvm: [case 40] any message of the guest is taken or refused, and other lines go on") {
  TinyMachine machine(wait_for_interrupt());
  kvm::MsiRoutes routes(machine.vm(), false);
  const InterruptLine good = value_of(routes.add_line());
  const InterruptLine hostile = value_of(routes.add_line());
  routes.route(good.gsi, {.address = 0xfee0'0000, .data = 0x41});
  REQUIRE(routes.commit());
  for (const u64 at : {u64{0}, u64{0x1000}, u64{0xd000'0000}, u64{0xfee0'0001}, ~u64{0}}) {
    for (const u32 data : {0u, 0x4000u, ~0u}) {
      routes.route(hostile.gsi, {.address = at, .data = data});
      routes.commit();  // whatever it says
    }
  }
  routes.route(hostile.gsi, {.address = 0x1000, .data = 0});
  routes.commit();
  ::eventfd_write(hostile.event_fd, 1);
  machine.start();
  REQUIRE(machine.wait_for_accesses(1));
  ::eventfd_write(good.event_fd, 1);
  REQUIRE(machine.wait(std::chrono::seconds(10)));
  machine.stop_and_join();
  CHECK(machine.accesses[1].bytes == std::vector<u8>{0x41});
}

TEST_CASE("kvm: [case 40] with 32-bit destinations a refused message kills its own line only") {
  const kvm::System system = value_of(kvm::System::open());
  const kvm::Vm vm = value_of(system.create_vm());
  value_of(arch::create_interrupt_controller(vm, 300));
  kvm::MsiRoutes routes(vm, true);
  const InterruptLine good = value_of(routes.add_line());
  const InterruptLine hostile = value_of(routes.add_line());
  routes.route(good.gsi, {.address = 0xfee0'0000, .data = 0x41});
  CHECK(routes.commit());
  routes.route(hostile.gsi, {.address = ~u64{0}, .data = 0});  // bits 39:32 must be zero
  CHECK_FALSE(routes.commit());
  CHECK(routes.commit());
  routes.route(good.gsi, {.address = 0xfee0'1000, .data = 0x42});
  CHECK(routes.commit());
  routes.route(hostile.gsi, {.address = 0xfee0'0000, .data = 0x43});
  CHECK(routes.commit());
}

TEST_CASE("kvm: 300 vCPUs can be created, with their APIC ids") {
  TinyMachine machine(kick(), 300);
  machine.run();
  CHECK(machine.ends.empty());
}

TEST_CASE("kvm: the probe says what it found") {
  const KvmProbe probe = probe_kvm();
  CHECK(probe.verdict != KvmProbe::Verdict::kUnavailable);
  CHECK_FALSE(probe.reason.empty());
}

}  // namespace uvmm
