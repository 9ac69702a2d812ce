// SPDX-License-Identifier: Apache-2.0
// What the payloads have in common that attack a share: the share and a disk, what they expect of an answer,
// and a look at whether honest users are still served.
//
// The share has file ("content") and directory/inner. The disk's sectors are filled with their numbers.
#pragma once

#include <fcntl.h>

#include "disk.h"
#include "fuse.h"

namespace payload {

inline FuseClient* share = nullptr;
inline Disk* disk = nullptr;
inline u64 file = 0, directory = 0;  // nodes, once the guest has looked them up

inline void open_target() {
  static VirtioDevice disk_device;
  if (!disk_device.open(VIRTIO_ID_BLOCK)) fail("no disk");
  static Disk the_disk(disk_device);
  static FuseClient the_share(0);
  disk = &the_disk;
  share = &the_share;
  share->start();
}

inline void begin_session() {
  share->initialise().as<fuse_init_out>();
  file = share->look_up("file");
  directory = share->look_up("directory");
}

inline void expect(const char* what, u32 opcode, i32 expected, const Answer& answer) {
  if (!answer.came) fail(what, ", operation ", opcode, ": no answer");
  if (answer.error != expected)
    fail(what, ", operation ", opcode, ": error ", u32(-answer.error), ", not ", u32(-expected));
}
inline void expect(const char* what, i32 expected, Message& message, u32 room = 4_KiB) {
  const u32 opcode = message.header().opcode;
  expect(what, opcode, expected, share->call(message, room));
}
inline void expect(const char* what, i32 expected, Message&& message) {
  expect(what, expected, message);
}
inline void expect_silence(Message& message) {
  const u32 opcode = message.header().opcode;
  const Answer answer = share->call(message, 0);
  if (answer.came || answer.broken) fail("operation ", opcode, " has no answer, and a queue that lives");
}

// What honest users see meanwhile.
inline void all_is_well(const char* after) {
  u8 sector[kSector];
  if (share->look_up("file") != file) fail("after ", after, " the file is another");
  const u64 handle = share->open(file, O_RDONLY);
  const Answer read = share->call(Message(FUSE_READ, file).add(fuse_read_in{.fh = handle, .size = 100}));
  if (read.error != 0 || read.bytes != 7 || memcmp(read.payload, "content", 7) != 0)
    fail("after ", after, " the file has another content");
  share->release(file, handle);
  if (disk->read(7, sector, kSector) != VIRTIO_BLK_S_OK || sector[0] != 7 || sector[kSector - 1] != 7)
    fail("after ", after, " the disk does not serve");
}

// Has nothing open and knows nothing, until the host has looked at what it holds, and made a file of that
// name.
inline void rest(const char* counted) {
  expect("the end", 0, Message(FUSE_DESTROY, 0));
  begin_session();
  all_is_well("the end of a session");
  print("at rest\n");
  Answer answer;
  do {
    for (u32 i = 0; i < 100'000; ++i) asm volatile("pause");
    answer = share->call(Message(FUSE_LOOKUP, FUSE_ROOT_ID).text(counted));
  } while (answer.error == -ENOENT);
  expect("the end", 0, Message(FUSE_DESTROY, 0));
}

}  // namespace payload
