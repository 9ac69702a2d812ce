/* SPDX-License-Identifier: Apache-2.0
 *
 * floor SLOTS IOEVENTFDS IRQFDS [AGE-MS]: the KVM calls that a monitor with one vCPU and 128 MiB cannot do
 * without, in the order in which KVM is fastest, and nothing else. No thread, no library, nothing read. The
 * guest is one instruction: a write to the port that powers off. "ready" goes to standard output when the
 * guest has executed it and, if an age is given, the VM has that age.
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, SLOT_BYTES = 3 * PAGE, RING_ENTRIES = 256, HIGH_FD = 1023 };
static const uint64_t RAM_BYTES = 128ull << 20, HUGE_PAGE = 2ull << 20;
static const uint64_t WINDOW = 0xD0000000, STRIDE = 0x8000, NOTIFY = 0x6000;

static void check(long result, const char* what) {
  if (result >= 0) return;
  if (write(STDERR_FILENO, what, strlen(what)) < 0 || write(STDERR_FILENO, " failed\n", 8) < 0) _exit(2);
  _exit(1);
}

static void* map(uint64_t bytes, int flags, int fd, off_t offset) {
  void* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, offset);
  check(at == MAP_FAILED ? -1 : 0, "mmap");
  return at;
}

static void add_slot(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t bytes, void* memory) {
  struct kvm_userspace_memory_region region = {.slot = slot,
                                               .flags = flags,
                                               .guest_phys_addr = gpa,
                                               .memory_size = bytes,
                                               .userspace_addr = (uintptr_t)memory};
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void add_cpuid(int kvm, int vcpu) {
  static struct {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entries[256];
  } cpuid = {.head.nent = 256};
  check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
  check(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
}

static void set_entry(int vcpu) {
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  sregs.cs.base = sregs.cs.selector = 0; /* real mode from address 0 */
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  struct kvm_regs regs = {.rip = PAGE, .rflags = 2, .rax = 0x34, .rdx = 0x601};
  check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void set_up_ring(void) {
  struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                            IORING_SETUP_R_DISABLED};
  int ring = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &params);
  check(ring, "io_uring_setup");
  map(params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), MAP_SHARED | MAP_POPULATE, ring,
      IORING_OFF_SQ_RING);
  map(params.sq_entries * sizeof(struct io_uring_sqe), MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
}

int main(int argc, char** argv) {
  if (argc < 4) return 64;
  const int slots = atoi(argv[1]), ioeventfds = atoi(argv[2]), irqfds = atoi(argv[3]);
  const int age_ms = argc > 4 ? atoi(argv[4]) : 0;

  close(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, HIGH_FD)); /* the table of descriptors grows once, here */
  uint8_t* reserved = map(RAM_BYTES + HUGE_PAGE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  uint8_t* ram = (uint8_t*)(((uintptr_t)reserved + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
  ram[PAGE] = 0xEE; /* out %al, (%dx) */

  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  check(kvm, "/dev/kvm");
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  check(vm, "KVM_CREATE_VM");
  add_slot(vm, 0, 0, 0, RAM_BYTES, ram);
  uint8_t* pages = map((uint64_t)slots * SLOT_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 1; i < slots; ++i)
    add_slot(vm, i, KVM_MEM_READONLY, WINDOW + i * STRIDE, SLOT_BYTES, pages + i * SLOT_BYTES);
  struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP};
  check(ioctl(vm, KVM_ENABLE_CAP, &split), "KVM_CAP_SPLIT_IRQCHIP");

  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  check(vcpu, "KVM_CREATE_VCPU");
  struct kvm_run* run = map(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), MAP_SHARED, vcpu, 0);
  add_cpuid(kvm, vcpu);
  set_entry(vcpu);

  set_up_ring();
  for (int i = 0; i < ioeventfds; ++i) {
    struct kvm_ioeventfd event = {.addr = WINDOW + i * STRIDE + NOTIFY, .fd = eventfd(0, EFD_CLOEXEC)};
    check(ioctl(vm, KVM_IOEVENTFD, &event), "KVM_IOEVENTFD");
  }
  for (int i = 0; i < irqfds; ++i) {
    struct kvm_irqfd irqfd = {.gsi = i, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    check(ioctl(vm, KVM_IRQFD, &irqfd), "KVM_IRQFD");
  }

  check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
  if (run->exit_reason != KVM_EXIT_IO) return 1;
  struct timespec age = {age_ms / 1000, age_ms % 1000 * 1000000};
  if (age_ms) nanosleep(&age, NULL);
  check(write(STDOUT_FILENO, "ready\n", 6), "write");
  _exit(0);
}
