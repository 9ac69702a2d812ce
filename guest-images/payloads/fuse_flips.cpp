// SPDX-License-Identifier: Apache-2.0
// Sends FUSE requests to a share while another vCPU changes their headers, as fast as it can: the operation,
// the length and the node. On the kernel command line: requests=N.
//
// The arguments are all zeros: a name is empty, a mode, a size and a handle are 0. Whatever operation it
// becomes, nothing in the share may change.
#include "cpu.h"
#include "fuse.h"
#include "random.h"

namespace payload {
namespace {

constexpr u64 kMostRequests = 1'000'000;  // to meet the attacker, who may have to wait for a processor
constexpr u32 kArguments = 128;

volatile fuse_in_header* volatile target = nullptr;
volatile bool stop = false, stopped = false;
u64 file = 0;

void flip() {
  constexpr u32 kLength = sizeof(fuse_in_header) + kArguments;
  constexpr u32 kLengths[] = {0, sizeof(fuse_in_header) - 1, kLength - 1, kLength + 1, ~u32{0}};
  while (!target) asm volatile("pause");
  while (!stop) {
    volatile fuse_in_header& header = *target;
    switch (random() % 4) {
      case 0:
        header.len = kLengths[random() % 5];
        break;
      case 1:
        header.nodeid = random() % 2 ? file : random();
        break;
      default:
        header.opcode = u32(random() % 66);
    }
    wait_a_little();
    header.opcode = FUSE_GETATTR;
    header.nodeid = FUSE_ROOT_ID;
    header.len = kLength;
    wait_a_little();
  }
  stopped = true;
}

}  // namespace

void run() {
  static FuseClient share(0);
  share.start();
  print("fuse flips\n");
  start_cpu(1, flip);
  leave_kernel_mode();
  const u64 count = parameter("requests", 1000);

  u64 served = 0, errors = 0, silent = 0;
  static Message message = Message(FUSE_GETATTR, FUSE_ROOT_ID).fill(0, kArguments);
  for (u64 i = 0; i < count || ((served == 0 || errors == 0) && i < kMostRequests); ++i) {
    // The attacker may have ended the session, or opened all that may be open.
    if (i % 64 == 0) {
      share.call(Message(FUSE_DESTROY, 0));
      share.initialise();
      file = share.look_up("file");
      target = &message.header();
    }
    const Answer answer = share.call(message);
    if (answer.broken) fail("the device needs a reset");
    silent += !answer.came;
    errors += answer.error != 0;
    served += answer.came && answer.error == 0;
  }
  stop = true;
  while (!stopped) asm volatile("pause");
  if (served == 0 || errors == 0) fail(served, " served, ", errors, " errors");

  // And it still works.
  share.call(Message(FUSE_DESTROY, 0));
  share.initialise();
  share.look_up("file");
  print("fuse flips: ", served, " served, ", errors, " errors, ", silent, " silent\n");
}

}  // namespace payload
