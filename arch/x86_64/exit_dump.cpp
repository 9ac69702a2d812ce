// SPDX-License-Identifier: Apache-2.0
#include "arch/x86_64/exit_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace uvmm::arch {
namespace {

constexpr std::size_t kInstructionBytes = 16;  // one more than the longest instruction

std::string hex(std::span<const u8> bytes) {
  return fmt::format("{:02x}", fmt::join(bytes, " "));
}

const char* name_of_suberror(u32 suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "cannot emulate the instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "simultaneous exceptions";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "unexpected exit reason";
    default:
      return "unknown suberror";
  }
}

std::string describe_internal_error(const kvm_run& run) {
  const auto& error = run.internal;
  const std::size_t words = std::min<std::size_t>(error.ndata, std::size(error.data));
  std::string text =
      fmt::format("KVM internal error {} ({})", error.suberror, name_of_suberror(error.suberror));
  const auto& emulation = run.emulation_failure;
  if (error.suberror == KVM_INTERNAL_ERROR_EMULATION && words >= 3 &&
      (emulation.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
    const std::size_t size = std::min<std::size_t>(emulation.insn_size, std::size(emulation.insn_bytes));
    return text + ", instruction " + hex(std::span(emulation.insn_bytes).first(size));
  }
  for (const u64 word : std::span(error.data).first(words))
    fmt::format_to(std::back_inserter(text), " {:#x}", word);
  return text;
}

std::string dump_segment(const char* name, const kvm_segment& segment) {
  return fmt::format("{:3} {:04x} base {:016x} limit {:08x} type {:x} s {} dpl {} p {} l {} db {} g {}\n",
                     name, segment.selector, segment.base, segment.limit, segment.type, segment.s,
                     segment.dpl, segment.present, segment.l, segment.db, segment.g);
}

// Reads page by page, as far as the vCPU's page tables and RAM go.
std::size_t read_instruction(const kvm::Vcpu& vcpu, const GuestMemory& memory, u64 linear_address,
                             std::span<u8> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const u64 at = linear_address + done;
    const auto gpa = vcpu.translate(at);
    if (!gpa) break;
    const u64 left_in_page = kPageSize - at % kPageSize;
    const std::span<u8> run = memory.prefix(*gpa, std::min<u64>(left_in_page, bytes.size() - done));
    if (run.empty()) break;
    std::memcpy(&bytes[done], run.data(), run.size());
    done += run.size();
  }
  return done;
}

}  // namespace

std::string describe_exit(const kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_SHUTDOWN:
      return "triple fault";
    case KVM_EXIT_INTERNAL_ERROR:
      return describe_internal_error(run);
    case KVM_EXIT_FAIL_ENTRY:
      return fmt::format("the processor refuses to enter the guest, reason {:#x}",
                         run.fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_UNKNOWN:
      return fmt::format("unknown hardware exit reason {:#x}", run.hw.hardware_exit_reason);
    default:
      return fmt::format("unexpected KVM exit {}", run.exit_reason);
  }
}

std::string dump_registers(const kvm_regs& regs, const kvm_sregs& sregs, std::span<const u8> instruction) {
  std::string text = fmt::format(
      "rip {:016x} rflags {:08x} cpl {}\n"
      "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n"
      "rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}\n"
      "r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}\n"
      "r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}\n"
      "cr0 {:016x} cr2 {:016x} cr3 {:016x} cr4 {:016x}\n"
      "efer {:x} apic_base {:x}\n",
      regs.rip, regs.rflags, sregs.ss.dpl, regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi,
      regs.rbp, regs.rsp, regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
      sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer, sregs.apic_base);
  text += dump_segment("cs", sregs.cs) + dump_segment("ds", sregs.ds) + dump_segment("es", sregs.es) +
          dump_segment("fs", sregs.fs) + dump_segment("gs", sregs.gs) + dump_segment("ss", sregs.ss) +
          dump_segment("tr", sregs.tr) + dump_segment("ldt", sregs.ldt);
  text += fmt::format("gdt base {:016x} limit {:04x}\nidt base {:016x} limit {:04x}\n", sregs.gdt.base,
                      sregs.gdt.limit, sregs.idt.base, sregs.idt.limit);
  text += "code ";
  text += instruction.empty() ? "cannot be read"
                              : hex(instruction.first(std::min(instruction.size(), kInstructionBytes)));
  return text;
}

std::string dump_vcpu(const kvm::Vcpu& vcpu, const GuestMemory& memory) {
  const auto regs = vcpu.get_regs();
  const auto sregs = vcpu.get_sregs();
  if (!regs || !sregs) return "the registers cannot be read";
  std::array<u8, kInstructionBytes> instruction;
  const std::size_t count = read_instruction(vcpu, memory, sregs->cs.base + regs->rip, instruction);
  return dump_registers(*regs, *sregs, std::span(instruction).first(count));
}

}  // namespace uvmm::arch
