// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu.h"

#include <thread>

#include <catch2/catch.hpp>

#include "tests/kvm/tiny_machine.h"

namespace uvmm {
namespace {

using Catch::Contains;
using Kind = TinyMachine::Access::Kind;

GUEST_CODE(power_off, R"(
  mov $0x601, %dx
  mov $0x34, %al
  out %al, %dx
  hlt)")

GUEST_CODE(reads_and_writes_in_order, R"(
  mov $0xd0000000, %ebx
  movl $0x11223344, (%rbx)
  movb $0x55, 4(%rbx)
  mov 8(%rbx), %rax
  mov %rax, 16(%rbx)
  mov $0x80, %dx
  in %dx, %ax
  out %ax, %dx
  mov $0x601, %dx
  out %al, %dx)")

GUEST_CODE(string_output, R"(
  lea text(%rip), %rsi
  mov $5, %ecx
  mov $0x3f8, %dx
  cld
  rep outsb
  mov $0x601, %dx
  out %al, %dx
text: .ascii "hello")")

GUEST_CODE(string_input, R"(
  mov $0x2000, %edi
  mov $3, %ecx
  mov $0x60, %dx
  cld
  rep insw
  mov $0x601, %dx
  out %al, %dx)")

GUEST_CODE(write_to_read_only_memory, R"(
  mov $0xd1000000, %ebx
  mov (%rbx), %eax
  movl $0x0badf00d, 4(%rbx)
  mov 4(%rbx), %ecx
  mov $0x80, %dx
  out %eax, %dx
  mov %ecx, %eax
  out %eax, %dx
  mov $0x601, %dx
  out %al, %dx)")

// No IDT: the exception meets another one and that a third.
GUEST_CODE(triple_fault, "ud2")

// The code is fetched where there is no memory.
GUEST_CODE(jump_into_the_hole, R"(
  mov $0xd0000000, %eax
  jmp *%rax)")

GUEST_CODE(loop_forever, "1: jmp 1b")

GUEST_CODE(halt_forever, R"(
1: hlt
  jmp 1b)")

GUEST_CODE(write_forever, R"(
  mov $0x80, %dx
1: out %al, %dx
  jmp 1b)")

GUEST_CODE(report_leaf_1, R"(
  mov $1, %eax
  cpuid
  mov $0x80, %dx
  mov %ebx, %eax
  out %eax, %dx
  mov $0x601, %dx
  out %al, %dx)")

}  // namespace

TEST_CASE("vcpu: a write to a port reaches the handler, which can stop the vCPU from there") {
  TinyMachine machine(power_off());
  machine.run();
  CHECK(machine.accesses == std::vector<TinyMachine::Access>{{Kind::kPioWrite, 0x601, {0x34}}});
  CHECK(machine.ends.empty());
}

TEST_CASE("vcpu: accesses arrive in program order, with their sizes and bytes") {
  TinyMachine machine(reads_and_writes_in_order());
  machine.answer = 0xa5;
  machine.run();
  const std::vector<u8> eight(8, 0xa5), two(2, 0xa5);
  CHECK(machine.accesses == std::vector<TinyMachine::Access>{
                                {Kind::kMmioWrite, 0xd000'0000, {0x44, 0x33, 0x22, 0x11}},
                                {Kind::kMmioWrite, 0xd000'0004, {0x55}},
                                {Kind::kMmioRead, 0xd000'0008, eight},
                                {Kind::kMmioWrite, 0xd000'0010, eight},
                                {Kind::kPioRead, 0x80, two},
                                {Kind::kPioWrite, 0x80, two},
                                {Kind::kPioWrite, 0x601, {0xa5}},
                            });
  const ExitCounts exits = machine.vcpu(0).exits();
  CHECK(exits.mmio_read == 1);
  CHECK(exits.mmio_write == 3);
  CHECK(exits.io_in == 1);
  CHECK(exits.io_out == 2);
}

TEST_CASE("vcpu: [case 34] a string output is one write for each of its elements") {
  TinyMachine machine(string_output());
  machine.run();
  std::string text;
  for (const auto& access : machine.accesses) {
    if (access.address == 0x3f8) text.append(access.bytes.begin(), access.bytes.end());
  }
  CHECK(text == "hello");
  CHECK(machine.accesses.size() == 6);
}

TEST_CASE("vcpu: [case 34] a string input fills memory with what each read answers") {
  TinyMachine machine(string_input());
  machine.answer = 0x7e;
  machine.run();
  CHECK(machine.memory().read<u64>(guest(0x2000)) == 0x0000'7e7e'7e7e'7e7e);
}

TEST_CASE("vcpu: a write to read-only memory exits and changes nothing, reads do not exit") {
  TinyMachine machine(write_to_read_only_memory());
  machine.read_only_page()[0] = 0x78;
  machine.run();
  CHECK(machine.accesses == std::vector<TinyMachine::Access>{
                                {Kind::kMmioWrite, 0xd100'0004, {0x0d, 0xf0, 0xad, 0x0b}},
                                {Kind::kPioWrite, 0x80, {0x78, 0, 0, 0}},
                                {Kind::kPioWrite, 0x80, {0, 0, 0, 0}},
                                {Kind::kPioWrite, 0x601, {0}},
                            });
}

TEST_CASE("vcpu: [case 159] a triple fault ends the vCPU") {
  TinyMachine machine(triple_fault());
  machine.run();
  REQUIRE(machine.ends.size() == 1);
  CHECK(machine.ends[0].first == VcpuEnd::kTripleFault);
  CHECK_THAT(machine.ends[0].second, Contains("vCPU 0: triple fault\nrip "));
}

TEST_CASE("vcpu: [case 159] an internal error ends the vCPU with registers") {
  TinyMachine machine(jump_into_the_hole());
  machine.run();
  REQUIRE(machine.ends.size() == 1);
  CHECK(machine.ends[0].first == VcpuEnd::kInternalError);
  CHECK_THAT(machine.ends[0].second, Contains("rip 00000000d0000000"));
  CHECK_THAT(machine.ends[0].second, Contains("cr3 0000000000009000"));
  CHECK_THAT(machine.ends[0].second, Contains("code cannot be read"));
}

TEST_CASE("vcpu: stop() takes it out of the guest, whatever it does there", "[alone]") {
  const auto code = GENERATE(loop_forever, halt_forever, write_forever);
  TinyMachine machine(code());
  machine.start();
  CHECK_FALSE(machine.wait(std::chrono::milliseconds(20)));
  const auto start = std::chrono::steady_clock::now();
  machine.stop_and_join();
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  CHECK(machine.ends.empty());
}

TEST_CASE("vcpu: stop() is not lost when it comes before start(), or right after it") {
  for (int i = 0; i < 50; ++i) {
    TinyMachine machine(halt_forever());
    if (i % 2 == 0) machine.vcpu(0).stop();
    machine.start();
    machine.stop_and_join();
  }
}

TEST_CASE("vcpu: stop() from many threads at once, also after the end") {
  TinyMachine machine(halt_forever());
  machine.start();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { machine.vcpu(0).stop(); });
  }
  machine.vcpu(0).join();
  machine.vcpu(0).stop();
}

TEST_CASE("vcpu: a signal that is not ours does not stop it") {
  TinyMachine machine(halt_forever());
  machine.start();
  ::kill(::getpid(), SIGURG);  // to the process: ignored, or one vCPU's spurious kick
  CHECK_FALSE(machine.wait(std::chrono::milliseconds(20)));
  machine.stop_and_join();
}

TEST_CASE("vcpu: other vCPUs wait for the guest to start them and can be stopped meanwhile") {
  TinyMachine machine(report_leaf_1(), 4);
  machine.run();
  // APIC id 0, room for four ids.
  REQUIRE(machine.accesses.size() == 2);
  CHECK(machine.accesses[0].bytes[3] == 0);
  CHECK(machine.accesses[0].bytes[2] == 4);
  CHECK(machine.vcpu(3).exits().io_out == 0);
}

}  // namespace uvmm
