// SPDX-License-Identifier: Apache-2.0
// FuseRequests: what a guest may send: arguments of each operation's kind, filled with anything, where names
// and ids are those of something more often than not.
#pragma once

#include <fcntl.h>

#include <array>
#include <string>
#include <vector>

#include "tests/fakes/fuse_guest.h"
#include "tests/fuzz/fuzz.h"

namespace uvmm {

class FuseRequests {
 public:
  explicit FuseRequests(FuzzedDataProvider& choices) : input_(choices) {}

  // What answers have told of.
  std::vector<u64> nodes{FUSE_ROOT_ID};
  std::vector<u64> handles;

  bool lies() { return input_.ConsumeIntegralInRange(0, 31) == 31; }
  u64 node() { return pick(nodes); }

  u32 opcode() {
    static constexpr u32 kSome[] = {
        FUSE_LOOKUP,     FUSE_LOOKUP,  FUSE_LOOKUP,  FUSE_OPEN,    FUSE_OPENDIR,         FUSE_CREATE,
        FUSE_READ,       FUSE_WRITE,   FUSE_READDIR, FUSE_GETATTR, FUSE_READDIRPLUS,     FUSE_READDIRPLUS,
        FUSE_RENAME2,    FUSE_RENAME2, FUSE_RELEASE, FUSE_FORGET,  FUSE_COPY_FILE_RANGE, FUSE_SETLKW,
        FUSE_SETLK,      FUSE_UNLINK,  FUSE_RMDIR,   FUSE_MKDIR,   FUSE_SETATTR,         FUSE_LINK,
        FUSE_RELEASEDIR, FUSE_SYMLINK};
    if (lies()) return input_.ConsumeIntegral<u32>();
    return input_.ConsumeBool() ? input_.PickValueInArray(kSome)
                                : input_.ConsumeIntegralInRange<u32>(0, fuse::kOpcodes);
  }

  Bytes arguments(u32 opcode, u64 last_unique) {
    if (lies()) return any_bytes(120);
    switch (opcode) {
      case FUSE_LOOKUP:
      case FUSE_UNLINK:
      case FUSE_RMDIR:
        return name();
      case FUSE_REMOVEXATTR:
        return attribute();
      case FUSE_SYMLINK:
        return name() + name();
      case FUSE_MKNOD:
        return bytes_of(any<fuse_mknod_in>()) + name();
      case FUSE_MKDIR:
        return bytes_of(any<fuse_mkdir_in>()) + name();
      case FUSE_RENAME:
        return bytes_of(fuse_rename_in{node()}) + name() + name();
      case FUSE_RENAME2:
        return bytes_of(
                   fuse_rename2_in{.newdir = node(), .flags = input_.ConsumeIntegralInRange<u32>(0, 8)}) +
               name() + name();
      case FUSE_LINK:
        return bytes_of(fuse_link_in{node()}) + name();
      case FUSE_CREATE:
      case FUSE_TMPFILE: {
        auto create = any<fuse_create_in>();
        if (!lies()) create.flags &= O_ACCMODE | O_TRUNC | O_EXCL | O_CREAT;
        return bytes_of(create) + name();
      }
      case FUSE_OPEN:
      case FUSE_OPENDIR: {
        auto open = any<fuse_open_in>();
        if (!lies()) open.flags &= O_ACCMODE | O_TRUNC | O_APPEND;
        return bytes_of(open);
      }
      case FUSE_FORGET:
        return bytes_of(any<fuse_forget_in>());
      case FUSE_BATCH_FORGET:
        return bytes_of(any<fuse_batch_forget_in>()) +
               bytes_of(fuse_forget_one{node(), input_.ConsumeIntegral<u8>()});
      case FUSE_INIT: {
        auto init = any<fuse_init_in>();
        if (!lies()) init.major = 7;
        if (!lies()) init.minor = 38;
        return bytes_of(init);
      }
      case FUSE_INTERRUPT:
        return bytes_of(fuse_interrupt_in{last_unique - input_.ConsumeIntegralInRange<u64>(0, 9)});
      case FUSE_IOCTL:
        return ioctl();
      case FUSE_ACCESS:
        return bytes_of(fuse_access_in{.mask = input_.ConsumeIntegralInRange<u32>(0, 8)});
      default:
        break;
    }
    return opcode >= FUSE_GETXATTR && opcode <= FUSE_LISTXATTR ? attribute_request(opcode)
           : opcode == FUSE_SETXATTR                           ? set_attribute()
                                                               : of_handle(opcode);
  }

 private:
  u64 pick(const std::vector<u64>& known) {
    if (known.empty() || lies()) return input_.ConsumeIntegral<u64>();
    return known[input_.ConsumeIntegralInRange<std::size_t>(0, known.size() - 1)];
  }
  u64 handle() { return pick(handles); }

  Bytes any_bytes(std::size_t most) {
    const std::string any = input_.ConsumeRandomLengthString(most);
    return {any.begin(), any.end()};
  }
  template <typename T>
  T any() {
    std::array<u8, sizeof(T)> bytes{};
    input_.ConsumeData(bytes.data(), bytes.size());
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  // Anything, for a handle that there is.
  template <typename T>
  T with_handle() {
    T value = any<T>();
    value.fh = handle();
    return value;
  }
  template <typename T>
  T small_offset(T value) {
    if (!lies()) value.offset &= 0xffff;
    return value;
  }

  Bytes name() {
    static constexpr const char* kNames[] = {"a",   "b",  "d",  "e", "out", "up", "fifo", "device",  "socket",
                                             "new", "n2", "..", ".", "d/b", "/",  "",     "absolute"};
    if (lies()) return any_bytes(300);
    return text(input_.PickValueInArray(kNames));
  }

  Bytes attribute() {
    static constexpr const char* kNames[] = {"user.a",
                                             "trusted.b",
                                             "security.capability",
                                             "system.posix_acl_access",
                                             "system.posix_acl_default",
                                             "security",
                                             "user.",
                                             "trusted.overlay.opaque",
                                             ""};
    return text(input_.PickValueInArray(kNames));
  }
  Bytes attribute_request(u32 opcode) {
    fuse_getxattr_in request{.size = input_.ConsumeIntegral<u32>()};
    if (!lies()) request.size &= 0x3ff;
    return opcode == FUSE_GETXATTR ? bytes_of(request) + attribute() : bytes_of(request);
  }
  Bytes set_attribute() {
    const Bytes value = any_bytes(50);
    fuse_setxattr_in request{.size = static_cast<u32>(value.size()), .flags = input_.ConsumeIntegral<u8>()};
    if (!lies()) request.flags &= 3;
    request.setxattr_flags = input_.ConsumeBool();
    return bytes_of(request) + attribute() + value;
  }

  Bytes ioctl() {
    static constexpr u32 kCommands[] = {FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR,
                                        FS_IOC_FSSETXATTR};
    auto request = with_handle<fuse_ioctl_in>();
    if (!lies()) request.cmd = input_.PickValueInArray(kCommands);
    if (!lies()) request.flags &= FUSE_IOCTL_DIR;
    if (!lies()) request.in_size &= 0x1f;
    return bytes_of(request) + any_bytes(40);
  }

  Bytes of_handle(u32 opcode) {
    switch (opcode) {
      case FUSE_GETATTR:
        return bytes_of(with_handle<fuse_getattr_in>());
      case fuse::kStatx:
        return bytes_of(with_handle<fuse::fuse_statx_in>());
      case FUSE_SETATTR: {
        auto wish = with_handle<fuse_setattr_in>();
        wish.valid &= input_.ConsumeIntegral<u32>();
        if (!lies()) wish.size &= 0xffff;
        return bytes_of(wish);
      }
      case FUSE_READ:
      case FUSE_READDIR:
      case FUSE_READDIRPLUS: {
        auto read = with_handle<fuse_read_in>();
        if (!lies()) read.offset &= 0xf;
        if (!lies()) read.size &= 0x1fff;
        return bytes_of(read);
      }
      case FUSE_WRITE: {
        auto write = small_offset(with_handle<fuse_write_in>());
        const Bytes data = any_bytes(200);
        if (!lies()) write.size = static_cast<u32>(data.size());
        return bytes_of(write) + data;
      }
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
        return bytes_of(with_handle<fuse_release_in>());
      case FUSE_FSYNC:
      case FUSE_FSYNCDIR:
        return bytes_of(with_handle<fuse_fsync_in>());
      case FUSE_FLUSH: {
        auto flush = with_handle<fuse_flush_in>();
        flush.lock_owner &= 3;
        return bytes_of(flush);
      }
      case FUSE_GETLK:
      case FUSE_SETLK:
      case FUSE_SETLKW: {
        auto lock = with_handle<fuse_lk_in>();
        lock.owner &= 3;
        if (!lies()) lock.lk.type &= 3;
        if (!lies()) lock.lk.start &= 0xff;
        if (!lies()) lock.lk.end &= 0xff;
        lock.lk_flags &= 1;
        return bytes_of(lock);
      }
      case FUSE_FALLOCATE: {
        auto allocate = small_offset(with_handle<fuse_fallocate_in>());
        if (!lies()) allocate.length &= 0xffff;
        if (!lies()) allocate.mode &= 0x7b;
        return bytes_of(allocate);
      }
      case FUSE_LSEEK:
        return bytes_of(small_offset(with_handle<fuse_lseek_in>()));
      case FUSE_COPY_FILE_RANGE: {
        auto copy = any<fuse_copy_file_range_in>();
        copy.fh_in = handle();
        copy.fh_out = handle();
        copy.nodeid_out = node();
        if (!lies()) copy.off_out &= 0xffff;
        if (!lies()) copy.off_in &= 0xff;
        if (!lies()) copy.flags = 0;
        return bytes_of(copy);
      }
      default:
        return any_bytes(120);
    }
  }

  FuzzedDataProvider& input_;
};

}  // namespace uvmm
