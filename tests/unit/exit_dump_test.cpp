// SPDX-License-Identifier: Apache-2.0
#include "arch/x86_64/exit_dump.h"

#include <memory>
#include <string>

#include <catch2/catch.hpp>

namespace uvmm::arch {
namespace {

using Catch::Contains;

std::string describe(void (*fill)(kvm_run&)) {
  const auto run = std::make_unique<kvm_run>();
  fill(*run);
  return describe_exit(*run);
}

}  // namespace

TEST_CASE("exit dump: [case 159] an instruction that KVM cannot emulate is shown in bytes") {
  const std::string text = describe([](kvm_run& run) {
    run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run.emulation_failure.ndata = 3;
    run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run.emulation_failure.insn_size = 2;
    run.emulation_failure.insn_bytes[0] = 0x0f;
    run.emulation_failure.insn_bytes[1] = 0xb8;
  });
  CHECK(text == "KVM internal error 1 (cannot emulate the instruction), instruction 0f b8");
}

TEST_CASE("exit dump: [case 159] another internal error has its data words, no more than there are") {
  const std::string text = describe([](kvm_run& run) {
    run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run.internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
    run.internal.ndata = 2;
    run.internal.data[0] = 0x80000b0e;
    run.internal.data[1] = 0x31;
    run.internal.data[2] = 0xbad;
  });
  CHECK(text == "KVM internal error 3 (exit while an event was delivered) 0x80000b0e 0x31");
}

TEST_CASE("exit dump: lengths beyond the structure are cut") {
  const std::string text = describe([](kvm_run& run) {
    run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
    run.emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
    run.emulation_failure.ndata = 0xffffffff;
    run.emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
    run.emulation_failure.insn_size = 255;
  });
  CHECK_THAT(text, Contains("instruction 00"));
}

TEST_CASE("exit dump: a refused entry has the processor's reason") {
  const std::string text = describe([](kvm_run& run) {
    run.exit_reason = KVM_EXIT_FAIL_ENTRY;
    run.fail_entry.hardware_entry_failure_reason = 0x80000021;
  });
  CHECK(text == "the processor refuses to enter the guest, reason 0x80000021");
}

TEST_CASE("exit dump: an exit that nobody asked for is named by its number") {
  CHECK(describe([](kvm_run& run) { run.exit_reason = KVM_EXIT_DEBUG; }) == "unexpected KVM exit 4");
}

TEST_CASE("exit dump: registers are in hexadecimal, the instruction too") {
  kvm_regs regs{};
  regs.rip = 0xffffffff81000000;
  regs.r15 = 0x1234;
  kvm_sregs sregs{};
  sregs.cr3 = 0x9000;
  sregs.cs.selector = 0x10;
  const u8 code[] = {0xf4, 0x90};
  const std::string text = dump_registers(regs, sregs, code);
  CHECK_THAT(text, Contains("rip ffffffff81000000"));
  CHECK_THAT(text, Contains("r15 0000000000001234"));
  CHECK_THAT(text, Contains("cr3 0000000000009000"));
  CHECK_THAT(text, Contains("\ncs  0010 "));
  CHECK_THAT(text, Contains("\ncode f4 90"));
}

TEST_CASE("exit dump: code that cannot be read is said so") {
  CHECK_THAT(dump_registers({}, {}, {}), Contains("\ncode cannot be read"));
}

}  // namespace uvmm::arch
