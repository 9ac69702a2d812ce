// SPDX-License-Identifier: Apache-2.0
// probe: exit status 0 when /dev/kvm runs kernel code, 1 (with the reason on standard output) when it does not.
//
// A KVM without SVM or VMX emulates everything at CPL 0: slowly, and not every instruction. So this runs a guest in real
// mode (which is CPL 0) that executes popcnt, which such an emulator lacks, then times a loop that takes a real
// processor a few milliseconds and an emulator a second or more.

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

static const uint8_t kGuest[] = {
    0xf3, 0x0f, 0xb8, 0xc1,              // popcnt %cx, %ax
    0x66, 0xb9, 0x40, 0x42, 0x0f, 0x00,  // mov $1000000, %ecx
    0x67, 0xe2, 0xfd,                    // loop on itself (ecx)
    0xf4,                                // hlt
};
enum { kLoadAddress = 0x1000, kMemoryBytes = 0x10000, kLimitMs = 250 };

static void no(const char* why) {
  puts(why);
  exit(1);
}

static void no_errno(const char* what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

static int kvm(int fd, unsigned long request, void* argument) {
  const int result = ioctl(fd, request, argument);
  if (result < 0) no_errno("KVM refuses to make a virtual machine");
  return result;
}

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(void) {
  const int system = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (system < 0) no_errno("/dev/kvm");
  const int vm = kvm(system, KVM_CREATE_VM, 0);

  uint8_t* memory = mmap(NULL, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) no_errno("mmap");
  memcpy(memory + kLoadAddress, kGuest, sizeof kGuest);
  struct kvm_userspace_memory_region region = {.memory_size = kMemoryBytes, .userspace_addr = (uintptr_t)memory};
  kvm(vm, KVM_SET_USER_MEMORY_REGION, &region);

  const int vcpu = kvm(vm, KVM_CREATE_VCPU, 0);
  const int run_bytes = kvm(system, KVM_GET_VCPU_MMAP_SIZE, 0);
  struct kvm_run* run = mmap(NULL, run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) no_errno("mmap");

  struct kvm_sregs sregs;
  kvm(vcpu, KVM_GET_SREGS, &sregs);
  sregs.cs.base = sregs.cs.selector = 0;
  kvm(vcpu, KVM_SET_SREGS, &sregs);
  struct kvm_regs regs = {.rip = kLoadAddress, .rflags = 2};
  kvm(vcpu, KVM_SET_REGS, &regs);

  const long start_ms = now_ms();
  kvm(vcpu, KVM_RUN, 0);
  const long took_ms = now_ms() - start_ms;
  if (run->exit_reason != KVM_EXIT_HLT) no("/dev/kvm cannot run kernel code");
  if (took_ms > kLimitMs) no("/dev/kvm only emulates kernel code");
  return 0;
}
