// SPDX-License-Identifier: Apache-2.0
// "SDM" is the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID; "APM" the
// AMD64 Architecture Programmer's Manual, volume 3, appendix E.
#include "arch/x86_64/cpuid.h"

#include <asm/kvm_para.h>

#include <algorithm>
#include <bit>

namespace uvmm::arch {
namespace {

using Entry = kvm_cpuid_entry2;

constexpr u32 bit(u32 number) {
  return u32{1} << number;
}

// Replaces the bits [first, first + count) of `word`; a value that does not fit becomes the largest that
// does.
constexpr void set_field(u32& word, u32 first, u32 count, u32 value) {
  const u32 largest = bit(count) - 1;
  word = (word & ~(largest << first)) | (std::min(value, largest) << first);
}

// How many bits of the APIC id number the cores.
constexpr u32 core_bits(u32 cpus) {
  return u32(std::bit_width(cpus - 1));
}

Entry* find(std::span<Entry> cpuid, u32 function, u32 index = 0) {
  for (Entry& entry : cpuid) {
    if (entry.function == function && entry.index == index) return &entry;
  }
  return nullptr;
}

// "GenuineIntel" says which of the two vendors' topology leaves there are; everyone else follows AMD.
bool is_intel(std::span<Entry> cpuid) {
  const Entry* const vendor = find(cpuid, 0);
  return vendor && vendor->ebx == 0x756e6547 && vendor->edx == 0x49656e69 && vendor->ecx == 0x6c65746e;
}

// Leaves that a guest must not see: each stands for something KVM or this machine does not give.
bool is_hidden(u32 function) {
  switch (function) {
    case 0x5:          // MONITOR/MWAIT
    case 0xA:          // performance counters, which are off
    case 0xB:          // extended topology, made anew
    case 0x12:         // SGX
    case 0x1F:         // V2 extended topology, made anew
    case 0x8000'000A:  // SVM
    case 0x8000'001F:  // encrypted memory
    case 0x8000'0022:  // performance counters
    case 0x8000'0026:  // AMD's extended topology
      return true;
    default:
      return false;
  }
}

void cut_features(std::span<Entry> cpuid, const CpuidOptions& options) {
  if (Entry* const leaf = find(cpuid, 1)) {
    leaf->ecx &= ~(bit(3) | bit(5) | bit(15) | bit(27));  // MONITOR, VMX, PDCM; OSXSAVE follows CR4
    leaf->ecx |= bit(21) | bit(31);                       // x2APIC; a hypervisor is present
    if (options.tsc_deadline_timer) {
      leaf->ecx |= bit(24);
    } else {
      leaf->ecx &= ~bit(24);
    }
  }
  if (Entry* const leaf = find(cpuid, 7)) {
    leaf->ebx &= ~bit(2);   // SGX
    leaf->ecx &= ~bit(30);  // SGX launch control
    // KVM offers AMX even to a process that may not have its register state.
    const Entry* const state = find(cpuid, 0xD);
    const bool has_tiles = state && (state->eax & bit(17)) && (state->eax & bit(18));
    if (!has_tiles) leaf->edx &= ~(bit(22) | bit(24) | bit(25));
  }
  if (Entry* const leaf = find(cpuid, 0x8000'0001)) {
    leaf->ecx &= ~(bit(2) | bit(29));             // SVM, MONITORX
    leaf->ecx &= ~(bit(23) | bit(24) | bit(28));  // performance counters
  }
  if (Entry* const leaf = find(cpuid, KVM_CPUID_FEATURES); leaf && options.extended_destinations) {
    leaf->eax |= bit(KVM_FEATURE_MSI_EXT_DEST_ID);
  }
}

// SDM, leaf 4; APM, leaf 8000_001D, which has the same fields. The last level is everybody's, the rest each
// core's own.
void share_caches(std::span<Entry> cpuid, u32 function, u32 cpus) {
  for (Entry& entry : cpuid) {
    if (entry.function != function || (entry.eax & 0x1f) == 0) continue;
    const u32 level = entry.eax >> 5 & 7;
    set_field(entry.eax, 14, 12, level >= 3 ? bit(core_bits(cpus)) - 1 : 0);
    if (function == 4) set_field(entry.eax, 26, 6, bit(core_bits(cpus)) - 1);
  }
}

// SDM, leaves 0BH and 1FH: a level per index; each says how far to shift the x2APIC id to get the next
// level's.
void append_topology(std::vector<Entry>& cpuid, u32 function, u32 cpus) {
  constexpr u32 kThreads = 1, kCores = 2;
  Entry threads{.function = function, .index = 0, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
  threads.ebx = 1;
  threads.ecx = kThreads << 8 | threads.index;
  Entry cores{.function = function, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
  cores.eax = core_bits(cpus);
  cores.ebx = cpus;
  cores.ecx = kCores << 8 | cores.index;
  Entry end{.function = function, .index = 2, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
  end.ecx = end.index;
  cpuid.insert(cpuid.end(), {threads, cores, end});
}

void set_topology(std::vector<Entry>& cpuid, u32 cpus) {
  const bool intel = is_intel(cpuid);
  if (Entry* const leaf = find(cpuid, 1)) {
    set_field(leaf->ebx, 16, 8, bit(core_bits(cpus)));  // ids that the package has room for
    set_field(leaf->edx, 28, 1, cpus > 1);              // HTT: that field holds
  }
  share_caches(cpuid, 4, cpus);
  share_caches(cpuid, 0x8000'001D, cpus);
  if (!intel) {
    if (Entry* const leaf = find(cpuid, 0x8000'0001)) set_field(leaf->ecx, 1, 1, cpus > 1);  // CmpLegacy
    if (Entry* const leaf = find(cpuid, 0x8000'0008)) {
      leaf->ecx = 0;
      set_field(leaf->ecx, 0, 8, cpus - 1);
      set_field(leaf->ecx, 12, 4, core_bits(cpus));
    }
  }

  Entry* const largest = find(cpuid, 0);
  if (!largest) return;
  largest->eax = std::max(largest->eax, u32{0xB});
  const bool has_second = largest->eax >= 0x1F;
  append_topology(cpuid, 0xB, cpus);
  if (has_second) append_topology(cpuid, 0x1F, cpus);
}

}  // namespace

std::vector<Entry> guest_cpuid(std::span<const Entry> supported, const CpuidOptions& options) {
  std::vector<Entry> cpuid;
  cpuid.reserve(supported.size() + 6);
  for (const Entry& entry : supported) {
    if (!is_hidden(entry.function)) cpuid.push_back(entry);
  }
  cut_features(cpuid, options);
  set_topology(cpuid, options.cpus);
  set_apic_id(cpuid, 0);
  return cpuid;
}

void set_apic_id(std::span<Entry> cpuid, u32 apic_id) {
  for (Entry& entry : cpuid) {
    switch (entry.function) {
      case 1:  // the low eight bits; software that can count further reads another leaf
        set_field(entry.ebx, 24, 8, apic_id & 0xff);
        break;
      case 0xB:
      case 0x1F:
        entry.edx = apic_id;
        break;
      case 0x8000'001E:  // APM: extended APIC id; core id, and one thread a core; one node
        entry.eax = apic_id;
        entry.ebx = apic_id & 0xff;
        entry.ecx = 0;
        break;
      default:
        break;
    }
  }
}

bool has_gigabyte_pages(std::span<const Entry> cpuid) {
  return std::ranges::any_of(
      cpuid, [](const Entry& entry) { return entry.function == 0x8000'0001 && (entry.edx & bit(26)); });
}

u32 physical_address_bits(std::span<const kvm_cpuid_entry2> cpuid) {
  constexpr u32 kWithoutTheLeaf = 36;
  const auto leaf = std::ranges::find(cpuid, 0x8000'0008u, &Entry::function);
  return leaf == cpuid.end() ? kWithoutTheLeaf : leaf->eax & 0xff;
}

}  // namespace uvmm::arch
