// SPDX-License-Identifier: Apache-2.0
#include "arch/x86_64/cpuid.h"

#include <asm/kvm_para.h>

#include <catch2/catch.hpp>

namespace uvmm::arch {
namespace {

using Table = std::vector<kvm_cpuid_entry2>;

kvm_cpuid_entry2 leaf(u32 function, u32 eax = 0, u32 ebx = 0, u32 ecx = 0, u32 edx = 0) {
  kvm_cpuid_entry2 entry{};
  entry.function = function;
  entry.eax = eax;
  entry.ebx = ebx;
  entry.ecx = ecx;
  entry.edx = edx;
  return entry;
}

kvm_cpuid_entry2 subleaf(u32 function, u32 index, u32 eax, u32 ebx = 0, u32 ecx = 0, u32 edx = 0) {
  kvm_cpuid_entry2 entry = leaf(function, eax, ebx, ecx, edx);
  entry.index = index;
  entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  return entry;
}

kvm_cpuid_entry2 intel(u32 largest) {
  return leaf(0, largest, 0x756e6547, 0x6c65746e, 0x49656e69);
}

kvm_cpuid_entry2 amd(u32 largest) {
  return leaf(0, largest, 0x68747541, 0x444d4163, 0x69746e65);
}

const kvm_cpuid_entry2* find(const Table& table, u32 function, u32 index = 0) {
  for (const auto& entry : table) {
    if (entry.function == function && entry.index == index) return &entry;
  }
  return nullptr;
}

kvm_cpuid_entry2 get(const Table& table, u32 function, u32 index = 0) {
  const auto* const entry = find(table, function, index);
  REQUIRE(entry);
  return *entry;
}

}  // namespace

TEST_CASE("cpuid: every vCPU has its APIC id in leaf 1, its neighbours beside it") {
  Table table = guest_cpuid(Table{intel(0xD), leaf(1, 0, 0xaa00'0800)}, {.cpus = 6});
  CHECK(get(table, 1).ebx == 0x0008'0800);  // id 0, room for 8 ids, 64 bytes a cache line as before
  CHECK((get(table, 1).edx >> 28 & 1) == 1);
  set_apic_id(table, 5);
  CHECK(get(table, 1).ebx == 0x0508'0800);
}

TEST_CASE("cpuid: one vCPU is one core without hyper-threading") {
  const Table table = guest_cpuid(Table{intel(0x1F), leaf(1, 0, 0, 0, 1u << 28)}, {.cpus = 1});
  CHECK(get(table, 1).ebx == 0x0001'0000);
  CHECK((get(table, 1).edx >> 28 & 1) == 0);
  CHECK(get(table, 0xB, 1).eax == 0);
  CHECK(get(table, 0xB, 1).ebx == 1);
}

TEST_CASE("cpuid: the topology leaves have a thread level, a core level and an end, with the x2APIC id") {
  const u32 function = GENERATE(0xBu, 0x1Fu);
  // The host's own, of another shape, must not show through.
  Table table = guest_cpuid(Table{intel(0x20), leaf(1), subleaf(function, 0, 1, 2, 0x100, 77)}, {.cpus = 5});
  set_apic_id(table, 4);
  const auto threads = get(table, function, 0);
  CHECK(threads.eax == 0);
  CHECK(threads.ebx == 1);
  CHECK(threads.ecx == 0x100);
  CHECK(threads.edx == 4);
  const auto cores = get(table, function, 1);
  CHECK(cores.eax == 3);
  CHECK(cores.ebx == 5);
  CHECK(cores.ecx == 0x201);
  CHECK(cores.edx == 4);
  const auto end = get(table, function, 2);
  CHECK(end.eax == 0);
  CHECK(end.ebx == 0);
  CHECK(end.ecx == 2);
  CHECK(end.edx == 4);
  CHECK(threads.flags == KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
  CHECK(std::ranges::count_if(table, [&](auto& entry) { return entry.function == function; }) == 3);
}

TEST_CASE("cpuid: leaf 1FH is there only if the processor counts that far") {
  CHECK(find(guest_cpuid(Table{intel(0xD), leaf(1)}, {.cpus = 2}), 0x1F) == nullptr);
  CHECK(get(guest_cpuid(Table{intel(0x4), leaf(1)}, {.cpus = 2}), 0).eax == 0xB);
}

TEST_CASE("cpuid: ids above 255 are whole in the x2APIC leaves") {
  Table table = guest_cpuid(Table{intel(0xD), leaf(1), leaf(KVM_CPUID_FEATURES)},
                            {.cpus = 300, .extended_destinations = true});
  set_apic_id(table, 0x123);
  CHECK(get(table, 0xB, 0).edx == 0x123);
  CHECK(get(table, 1).ebx == 0x23ff'0000);
  CHECK(get(table, KVM_CPUID_FEATURES).eax == 1u << KVM_FEATURE_MSI_EXT_DEST_ID);
}

TEST_CASE("cpuid: the guest is told of the hypervisor, x2APIC and the deadline timer") {
  const Table supported{intel(0xD), leaf(1)};
  CHECK(get(guest_cpuid(supported, {}), 1).ecx == (1u << 31 | 1u << 24 | 1u << 21));
  CHECK(get(guest_cpuid(supported, {.tsc_deadline_timer = false}), 1).ecx == (1u << 31 | 1u << 21));
}

TEST_CASE("cpuid: what this machine does not have is not claimed") {
  const Table table =
      guest_cpuid(Table{intel(0x16), leaf(1, 0, 0, ~0u), leaf(5, 64, 64), leaf(0xA, 0x0730'0802),
                        subleaf(7, 0, 2, ~0u, ~0u, ~0u), subleaf(0x12, 0, 3), subleaf(0xD, 0, 7),
                        leaf(0x8000'0001, 0, 0, ~0u, ~0u), leaf(0x8000'000A, 1), leaf(0x8000'001F, 3)},
                  {});
  const u32 absent = 1u << 3 | 1u << 5 | 1u << 15 | 1u << 27;  // MONITOR, VMX, PDCM, OSXSAVE
  CHECK((get(table, 1).ecx & absent) == 0);
  CHECK((get(table, 7).ebx & 1u << 2) == 0);                           // SGX
  CHECK((get(table, 7).edx & (1u << 22 | 1u << 24 | 1u << 25)) == 0);  // AMX without its state
  CHECK((get(table, 0x8000'0001).ecx & 1u << 2) == 0);                 // SVM
  for (const u32 function : {0x5u, 0xAu, 0x12u, 0x8000'000Au, 0x8000'001Fu}) {
    CAPTURE(function);
    CHECK(find(table, function) == nullptr);
  }
}

TEST_CASE("cpuid: AMX stays where its state can be had") {
  const Table table = guest_cpuid(
      Table{intel(0x1E), leaf(1), subleaf(7, 0, 0, 0, 0, 1u << 24), subleaf(0xD, 0, 0x6'00e7)}, {});
  CHECK(get(table, 7).edx == 1u << 24);
}

TEST_CASE("cpuid: Linux's paravirtual leaves stay") {
  const Table table =
      guest_cpuid(Table{intel(0xD), leaf(1), leaf(KVM_CPUID_SIGNATURE, KVM_CPUID_FEATURES, 1, 2, 3),
                        leaf(KVM_CPUID_FEATURES, 0x0100'7efb)},
                  {});
  CHECK(get(table, KVM_CPUID_SIGNATURE).ebx == 1);
  CHECK(get(table, KVM_CPUID_FEATURES).eax == 0x0100'7efb);
}

TEST_CASE("cpuid: first caches are each core's own, the last is shared") {
  // Type in bits 4:0, level in 7:5, then as on a host with 2 threads a core and 64 ids a package.
  const u32 host_l1 = 1 | 1 << 5 | 1 << 14 | 31u << 26;
  const u32 host_l3 = 3 | 3 << 5 | 63 << 14 | 31u << 26;
  const Table table = guest_cpuid(
      Table{intel(0xD), leaf(1), subleaf(4, 0, host_l1), subleaf(4, 1, host_l3), subleaf(4, 2, 0)},
      {.cpus = 4});
  CHECK(get(table, 4, 0).eax == (1 | 1 << 5 | 3u << 26));
  CHECK(get(table, 4, 1).eax == (3 | 3 << 5 | 3 << 14 | 3u << 26));
  CHECK(get(table, 4, 2).eax == 0);
}

TEST_CASE("cpuid: AMD has the count of cores and each one's id in its own leaves") {
  Table table = guest_cpuid(Table{amd(0x10), leaf(1), leaf(0x8000'0001), leaf(0x8000'0008, 0x3030, 0, 0x700f),
                                  leaf(0x8000'001E, 9, 0x0109, 0x0300)},
                            {.cpus = 4});
  set_apic_id(table, 3);
  CHECK(get(table, 0x8000'0008).eax == 0x3030);
  CHECK(get(table, 0x8000'0008).ecx == 0x2003);
  CHECK(get(table, 0x8000'0001).ecx == 2);
  CHECK(get(table, 0x8000'001E).eax == 3);
  CHECK(get(table, 0x8000'001E).ebx == 3);
  CHECK(get(table, 0x8000'001E).ecx == 0);
}

TEST_CASE("cpuid: Intel has no core count in AMD's place") {
  const Table table = guest_cpuid(Table{intel(0xD), leaf(1), leaf(0x8000'0008, 0x302e)}, {.cpus = 4});
  CHECK(get(table, 0x8000'0008).ecx == 0);
}

TEST_CASE("cpuid: 1 GiB pages are in the extended features") {
  CHECK(has_gigabyte_pages(Table{leaf(0x8000'0001, 0, 0, 0, 1u << 26)}));
  CHECK_FALSE(has_gigabyte_pages(Table{leaf(0x8000'0001), leaf(1, 0, 0, 0, 1u << 26)}));
}

}  // namespace uvmm::arch
