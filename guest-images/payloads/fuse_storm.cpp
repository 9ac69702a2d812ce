// SPDX-License-Identifier: Apache-2.0
// Asks a share for all that it has: lookups and forgetting in a storm, more open files than there may be, and
// sessions that end with all of it open, by FUSE_DESTROY or a reset. On the kernel command line: rounds=N,
// storm=N (requests).
//
// After the first round and at the end it is at rest, as fuse_attack is.
#include "fuse_target.h"

namespace payload {
namespace {

void storm(u64 count) {
  for (u64 i = 0; i < count; ++i) {
    share->look_up(i % 2 ? "file" : "directory");
    if (i % 4 == 0) expect_silence(Message(FUSE_FORGET, i).add(fuse_forget_in{.nlookup = i}));
    if (i % 4 == 2)
      expect_silence(Message(FUSE_BATCH_FORGET, i)
                         .add(fuse_batch_forget_in{.count = ~u32{0}})
                         .add(fuse_forget_one{.nodeid = i, .nlookup = ~u64{0}})
                         .add(fuse_forget_one{.nodeid = directory, .nlookup = 1}));
    if (i % 64 == 0) file = share->look_up("file"), directory = share->look_up("directory");
  }
  file = share->look_up("file");
  directory = share->look_up("directory");
}

// What is open then stays so: the session's end is to close it.
void open_all() {
  u64 count = 0;
  Answer answer;
  const u64 last = share->open(file, O_RDWR);
  do {
    answer = share->call(Message(FUSE_OPEN, file).add(fuse_open_in{.flags = O_RDWR}));
    if (++count > 100'000) fail("there is no end to what may be open");
  } while (answer.error == 0);
  expect("one too many", FUSE_OPEN, -ENFILE, answer);
  expect("one too many", -ENFILE, Message(FUSE_OPENDIR, FUSE_ROOT_ID).add(fuse_open_in{}));
  expect("one too many", -ENFILE,
         Message(FUSE_CREATE, FUSE_ROOT_ID).add(fuse_create_in{.flags = O_RDWR}).text("made"));
  share->release(file, last);
  all_is_well("as many opens as there may be");
}

void no_room() {
  for (const u32 room : {0u, 1u, 15u})
    if (!share->call(Message(FUSE_LOOKUP, FUSE_ROOT_ID).text("file"), room).broken)
      fail("a request without room for an answer was served");
    else
      share->start();
  begin_session();
  all_is_well("requests without room for an answer");
}

void round(bool by_reset, u64 requests) {
  begin_session();
  storm(requests);
  all_is_well("a storm");
  no_room();
  open_all();
  if (!by_reset) return expect("the end", 0, Message(FUSE_DESTROY, 0));
  share->start();
}

}  // namespace

void run() {
  open_target();
  print("fuse storm\n");
  const u64 rounds = parameter("rounds", 1), requests = parameter("storm", 1000);
  leave_kernel_mode();
  round(false, requests);
  begin_session();
  rest("counted-1");
  for (u64 i = 0; i < rounds; ++i) round(i % 2 == 0, requests);
  begin_session();
  rest("counted-2");
  print("fuse storm: ok\n");
}

}  // namespace payload
