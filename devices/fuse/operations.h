// SPDX-License-Identifier: Apache-2.0
// The operations of the FUSE protocol: one function each, and the table that says what each of them takes.
// I/O thread only.
//
// They answer with 0, after they have put their payload into the reply, or with -errno. Those that only touch
// names and attributes call the host at once: on a local file system that takes microseconds, less than
// handing them to another thread. Those that move data or wait for a disk are coroutines on the Io
// or the Helper.
#pragma once

#include "devices/fuse/server.h"
#include "vmm/base/task.h"

namespace uvmm::fuse {

struct Operation {
  enum Flag : u8 {
    kNodeless = 1,  // the header's node has no meaning
    kMutates = 2,   // not on a share that is read-only
    kSilent = 4,    // the guest expects no answer
    kFirst = 8,     // also before FUSE_INIT
  };
  u8 flags = 0;
  u16 takes = 0;    // bytes of arguments that every such request has
  u16 answers = 0;  // bytes of payload that a success has at least
  i32 (*at_once)(Server&, Request&) = nullptr;
  Task<i32> (*waiting)(Server&, Request&) = nullptr;

  bool has(Flag flag) const { return (flags & flag) != 0; }
};

// Null if there is no such operation here.
const Operation* find_operation(u32 opcode);

// session.cpp's
i32 init(Server&, Request&);
i32 destroy(Server&, Request&);

// lookup.cpp
i32 lookup(Server&, Request&);
i32 forget(Server&, Request&);
i32 batch_forget(Server&, Request&);
i32 getattr(Server&, Request&);
i32 statx_node(Server&, Request&);
i32 access(Server&, Request&);
i32 statfs(Server&, Request&);
i32 readlink(Server&, Request&);

// setattr.cpp
i32 setattr(Server&, Request&);

// create.cpp
i32 mknod(Server&, Request&);
i32 mkdir(Server&, Request&);
i32 symlink(Server&, Request&);
i32 create(Server&, Request&);
i32 tmpfile(Server&, Request&);

// names.cpp
i32 unlink(Server&, Request&);
i32 rmdir(Server&, Request&);
i32 rename(Server&, Request&);
i32 rename2(Server&, Request&);
i32 link(Server&, Request&);

// open.cpp
i32 open(Server&, Request&);
i32 release(Server&, Request&);
i32 opendir(Server&, Request&);
i32 releasedir(Server&, Request&);
i32 flush(Server&, Request&);

// data.cpp
Task<i32> read(Server&, Request&);
Task<i32> write(Server&, Request&);
Task<i32> fsync(Server&, Request&);
Task<i32> fsyncdir(Server&, Request&);
Task<i32> fallocate(Server&, Request&);
i32 lseek(Server&, Request&);
Task<i32> copy_file_range(Server&, Request&);
Task<i32> syncfs(Server&, Request&);

// readdir.cpp
i32 readdir(Server&, Request&);
i32 readdirplus(Server&, Request&);

// xattr.cpp
i32 setxattr(Server&, Request&);
i32 getxattr(Server&, Request&);
i32 listxattr(Server&, Request&);
i32 removexattr(Server&, Request&);

// locks.cpp
i32 getlk(Server&, Request&);
i32 setlk(Server&, Request&);
Task<i32> setlkw(Server&, Request&);
i32 interrupt(Server&, Request&);

// ioctl.cpp
i32 ioctl(Server&, Request&);

// Shared by several of them.

// Opens the node's file for more than its path, unless it is of a kind that is never opened. A descriptor, or
// -errno.
i32 open_node(Server& server, Node& node, u32 flags);
// As the guest asks for it, with both of its words of flags.
i32 open_file(Server& server, Node& node, u32 flags, u32 open_flags, Fd& fd);
// Which of the guest's flags go to the host's open().
u32 host_open_flags(const Server& server, u32 flags);
// The flags that a file that was just opened answers with; and one that was just made, of which the guest has
// nothing in its cache.
u32 caching_flags(Server& server, Node& node, int fd);
u32 new_caching_flags(const Server& server);
// Takes the file's set-user-id bit, and its set-group-id bit if it is executable for the group.
i32 drop_set_ids(int fd);

}  // namespace uvmm::fuse
