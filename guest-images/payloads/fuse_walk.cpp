// SPDX-License-Identifier: Apache-2.0
// Walks the tree of a share as `find` does, with a look at each file, and forgets nothing. Then it reads the
// file that it met first, whose content is "content".
#include <fcntl.h>

#include "fuse.h"

namespace payload {
namespace {

constexpr u32 kMostDirectories = 16 * 1024;

FuseClient* share = nullptr;
u64 directories[kMostDirectories];  // found, and from `walked` on not walked yet
u32 found = 0, walked = 0;
u64 files = 0, first_file = 0;

void meet(const fuse_entry_out& entry) {
  const auto status =
      share->call(Message(FUSE_GETATTR, entry.nodeid).add(fuse_getattr_in{})).as<fuse_attr_out>();
  if (status.attr.ino != entry.attr.ino) fail("node ", entry.nodeid, " is another file now");
  if (S_ISDIR(status.attr.mode)) {
    if (found == kMostDirectories) fail("too many directories");
    directories[found++] = entry.nodeid;
  } else {
    if (files++ == 0) first_file = entry.nodeid;
  }
}

void walk(u64 directory) {
  static u8 entries[FuseClient::kMostRoom];  // a copy, since looking at them overwrites the answer
  const u64 stream = share->open(directory, O_RDONLY, FUSE_OPENDIR);
  for (u64 place = 0;;) {
    const Answer answer =
        share->call(Message(FUSE_READDIRPLUS, directory)
                        .add(fuse_read_in{.fh = stream, .offset = place, .size = FuseClient::kMostRoom}),
                    FuseClient::kMostRoom);
    if (answer.error != 0) fail("READDIRPLUS: error ", u32(-answer.error));
    if (answer.bytes == 0) break;
    memcpy(entries, answer.payload, answer.bytes);
    for (u32 at = 0; at < answer.bytes;) {
      const auto& next = *reinterpret_cast<const fuse_direntplus*>(entries + at);
      at += u32(FUSE_DIRENTPLUS_SIZE(&next));
      place = next.dirent.off;
      if (next.entry_out.nodeid != 0) meet(next.entry_out);
    }
  }
  share->release(directory, stream, FUSE_RELEASEDIR);
}

}  // namespace

void run() {
  static FuseClient client(0);
  share = &client;
  share->start();
  print("fuse walk\n");
  leave_kernel_mode();
  share->initialise();
  directories[found++] = FUSE_ROOT_ID;
  while (walked < found) walk(directories[walked++]);

  const u64 handle = share->open(first_file, O_RDONLY);
  const Answer read =
      share->call(Message(FUSE_READ, first_file).add(fuse_read_in{.fh = handle, .size = 100}));
  if (read.error != 0 || read.bytes != 7 || memcmp(read.payload, "content", 7) != 0)
    fail("the first file cannot be read any more");
  print("fuse walk: ", files, " files in ", found, " directories\n");
}

}  // namespace payload
