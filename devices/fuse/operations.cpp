// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/operations.h"

#include <array>

namespace uvmm::fuse {

i32 init(Server& server, Request& request) {
  if (server.session.established()) return -EINVAL;
  // Guests of before 7.36 send the first four fields only.
  fuse_init_in offer{};
  const std::span<const u8> bytes = request.arguments.rest();
  std::memcpy(&offer, bytes.data(), std::min(bytes.size(), sizeof offer));
  const auto answer = server.session.negotiate(offer, server.share);
  if (!answer) return answer.error();
  if (server.session.established() && !server.files.start()) {
    server.session.end();
    return -EIO;
  }
  request.reply.put(*answer);
  return 0;
}

i32 destroy(Server& server, Request&) {
  server.forget_all();
  return 0;
}

namespace {

constexpr u16 kInitBytes = offsetof(fuse_init_in, flags2);  // as it was before 7.36

constexpr std::array<Operation, kOpcodes> make_table() {
  using enum Operation::Flag;
  constexpr u16 kEntry = sizeof(fuse_entry_out);
  constexpr u16 kAttributes = sizeof(fuse_attr_out);
  constexpr u16 kOpen = sizeof(fuse_open_out);
  std::array<Operation, kOpcodes> table{};
  table[FUSE_INIT] = {kNodeless | kFirst, kInitBytes, sizeof(fuse_init_out), init};
  table[FUSE_DESTROY] = {kNodeless, 0, 0, destroy};

  table[FUSE_LOOKUP] = {0, 0, kEntry, lookup};
  table[FUSE_FORGET] = {kSilent, sizeof(fuse_forget_in), 0, forget};
  table[FUSE_BATCH_FORGET] = {kNodeless | kSilent, sizeof(fuse_batch_forget_in), 0, batch_forget};
  table[FUSE_GETATTR] = {0, sizeof(fuse_getattr_in), kAttributes, getattr};
  table[kStatx] = {0, sizeof(fuse_statx_in), sizeof(fuse_statx_out), statx_node};
  table[FUSE_ACCESS] = {0, sizeof(fuse_access_in), 0, access};
  table[FUSE_STATFS] = {0, 0, sizeof(fuse_statfs_out), statfs};
  table[FUSE_READLINK] = {0, 0, 0, readlink};
  table[FUSE_SETATTR] = {kMutates, sizeof(fuse_setattr_in), kAttributes, setattr};

  table[FUSE_MKNOD] = {kMutates, sizeof(fuse_mknod_in), kEntry, mknod};
  table[FUSE_MKDIR] = {kMutates, sizeof(fuse_mkdir_in), kEntry, mkdir};
  table[FUSE_SYMLINK] = {kMutates, 0, kEntry, symlink};
  table[FUSE_CREATE] = {kMutates, sizeof(fuse_create_in), kEntry + kOpen, create};
  table[FUSE_TMPFILE] = {kMutates, sizeof(fuse_create_in), kEntry + kOpen, tmpfile};

  table[FUSE_UNLINK] = {kMutates, 0, 0, unlink};
  table[FUSE_RMDIR] = {kMutates, 0, 0, rmdir};
  table[FUSE_RENAME] = {kMutates, sizeof(fuse_rename_in), 0, rename};
  table[FUSE_RENAME2] = {kMutates, sizeof(fuse_rename2_in), 0, rename2};
  table[FUSE_LINK] = {kMutates, sizeof(fuse_link_in), kEntry, link};

  table[FUSE_OPEN] = {0, sizeof(fuse_open_in), kOpen, open};
  table[FUSE_OPENDIR] = {0, sizeof(fuse_open_in), kOpen, opendir};
  table[FUSE_RELEASE] = {0, sizeof(fuse_release_in), 0, release};
  table[FUSE_RELEASEDIR] = {0, sizeof(fuse_release_in), 0, releasedir};
  table[FUSE_FLUSH] = {0, sizeof(fuse_flush_in), 0, flush};

  table[FUSE_READ] = {0, sizeof(fuse_read_in), 0, nullptr, read};
  table[FUSE_WRITE] = {kMutates, sizeof(fuse_write_in), sizeof(fuse_write_out), nullptr, write};
  table[FUSE_FSYNC] = {0, sizeof(fuse_fsync_in), 0, nullptr, fsync};
  table[FUSE_FSYNCDIR] = {0, sizeof(fuse_fsync_in), 0, nullptr, fsyncdir};
  table[FUSE_FALLOCATE] = {kMutates, sizeof(fuse_fallocate_in), 0, nullptr, fallocate};
  table[FUSE_LSEEK] = {0, sizeof(fuse_lseek_in), sizeof(fuse_lseek_out), lseek};
  table[FUSE_COPY_FILE_RANGE] = {kMutates, sizeof(fuse_copy_file_range_in), sizeof(fuse_write_out), nullptr,
                                 copy_file_range};
  table[FUSE_SYNCFS] = {0, 0, 0, nullptr, syncfs};

  table[FUSE_READDIR] = {0, sizeof(fuse_read_in), 0, readdir};
  table[FUSE_READDIRPLUS] = {0, sizeof(fuse_read_in), 0, readdirplus};

  table[FUSE_SETXATTR] = {kMutates, FUSE_COMPAT_SETXATTR_IN_SIZE, 0, setxattr};
  table[FUSE_GETXATTR] = {0, sizeof(fuse_getxattr_in), 0, getxattr};
  table[FUSE_LISTXATTR] = {0, sizeof(fuse_getxattr_in), 0, listxattr};
  table[FUSE_REMOVEXATTR] = {kMutates, 0, 0, removexattr};

  table[FUSE_GETLK] = {0, sizeof(fuse_lk_in), sizeof(fuse_lk_out), getlk};
  table[FUSE_SETLK] = {0, sizeof(fuse_lk_in), 0, setlk};
  table[FUSE_SETLKW] = {0, sizeof(fuse_lk_in), 0, nullptr, setlkw};
  table[FUSE_INTERRUPT] = {kNodeless | kSilent, sizeof(fuse_interrupt_in), 0, interrupt};

  table[FUSE_IOCTL] = {0, sizeof(fuse_ioctl_in), sizeof(fuse_ioctl_out), ioctl};
  return table;
}

constexpr std::array<Operation, kOpcodes> kTable = make_table();

}  // namespace

const Operation* find_operation(u32 opcode) {
  if (opcode >= kTable.size()) return nullptr;
  const Operation& operation = kTable[opcode];
  return operation.at_once || operation.waiting ? &operation : nullptr;
}

}  // namespace uvmm::fuse
