// SPDX-License-Identifier: Apache-2.0
// Speaks FUSE to a share as no driver would, and sees to it that each hostile request ends as it must, and
// that an honest one and a disk are still served. Whatever it makes it removes. On the kernel command line:
// rounds=N, and passes=1 if ids pass through; else they are mapped.
//
// The first share also has fifo, socket, link (-> /etc/passwd) and long, a symlink of 4095 letters; the
// second one is read-only. After the first round and at the end it is at rest, for what the host holds to be
// compared: it waits for "counted-1" and "counted-2" in the share.
#include <linux/fs.h>

#include "fuse_target.h"

namespace payload {
namespace {

constexpr u32 kZeros = 128;  // as arguments: more than any operation takes
constexpr u64 kNowhere = u64{1} << 63;

FuseClient* fixed = nullptr;  // the read-only one
bool ids_pass = false;

// --- case 86

void before_initialisation() {
  expect("before FUSE_INIT", -EINVAL, Message(FUSE_LOOKUP, FUSE_ROOT_ID).text("file"));
  expect("before FUSE_INIT", -EINVAL, Message(FUSE_DESTROY, 0));
  expect("version 6", FUSE_INIT, -EPROTO, share->initialise(6));
  expect("version 7.30", FUSE_INIT, -EPROTO, share->initialise(7, 30));
  expect("half a FUSE_INIT", -EINVAL, Message(FUSE_INIT, 0).fill(0, 8));
  if (share->initialise(8).as<fuse_init_out>().major != 7) fail("version 8 is not told of 7");
  expect("FUSE_INIT of version 8 is none", -EINVAL, Message(FUSE_LOOKUP, FUSE_ROOT_ID).text("file"));
  const auto agreed = share->initialise().as<fuse_init_out>();
  if (agreed.max_write > 1_MiB || agreed.max_readahead > 1_MiB) fail("writes of ", agreed.max_write);
  expect("a second FUSE_INIT", FUSE_INIT, -EINVAL, share->initialise());
  file = share->look_up("file");
  directory = share->look_up("directory");
}

// --- cases 84, 85, 115

// FUSE_BMAP, FUSE_POLL, FUSE_NOTIFY_REPLY and the mappings of a DAX window are not served.
constexpr u32 kAbsent[] = {7, 19, 37, 40, 41, 48, 49};
bool exists(u32 opcode) {
  for (const u32 absent : kAbsent)
    if (opcode == absent) return false;
  return true;
}

void framing() {
  Message look = Message(FUSE_LOOKUP, FUSE_ROOT_ID).text("file");
  for (const u32 length : {0u, 39u, look.size() - 1, look.size() + 1, 0x8000'0000u, ~0u})
    expect("a length that is none", -EINVAL, look.claims(length));
  for (const u32 length : {1u, 39u})
    expect("a part of a header", -EINVAL, Message(FUSE_LOOKUP, FUSE_ROOT_ID).cut(length));
  static u8 many[80_KiB];
  expect("80 KiB of arguments", -E2BIG, Message(FUSE_LOOKUP, FUSE_ROOT_ID).then(many, sizeof many));
  for (const u32 opcode : {0u, 53u, 63u, 64u, 65u, 4096u, 0x8000'0003u, ~0u})
    expect("no operation", -ENOSYS, Message(opcode, FUSE_ROOT_ID).fill(0, kZeros));
  for (const u32 opcode : kAbsent)
    expect("no operation", -ENOSYS, Message(opcode, FUSE_ROOT_ID).fill(0, kZeros));
  // Any operation on arguments that are none or nonsense ends in some way. What that opens is closed at the
  // session's end. Not with all bits set, which for FUSE_OPEN has O_TRUNC among them.
  for (u32 opcode = 1; opcode < 64; ++opcode) {
    if (opcode == FUSE_INIT || opcode == FUSE_DESTROY) continue;
    if (opcode == FUSE_SYNCFS) continue;  // takes as long as the disk
    for (const u64 node : {u64{FUSE_ROOT_ID}, file}) {
      share->call(Message(opcode, node));
      share->call(Message(opcode, node).fill(0xfd, kZeros));
      share->call(Message(opcode, node).fill(0, kZeros));
      if (node == file) file = share->look_up("file");  // FUSE_FORGET has forgotten it
    }
  }
  expect("an answer that does not fit", -EINVAL, look.claims(look.size()),
         sizeof(fuse_out_header) + sizeof(fuse_entry_out) - 1);
}

// --- cases 90 to 92

// `arguments` come before the names; of two names the bad one is the first, or the second.
struct Naming {
  u32 opcode;
  u32 arguments;
  enum { kOnly, kFirst, kSecond } place;
};
constexpr Naming kNamings[] = {
    {FUSE_LOOKUP, 0, Naming::kOnly},
    {FUSE_MKNOD, sizeof(fuse_mknod_in), Naming::kOnly},
    {FUSE_MKDIR, sizeof(fuse_mkdir_in), Naming::kOnly},
    {FUSE_CREATE, sizeof(fuse_create_in), Naming::kOnly},
    {FUSE_LINK, sizeof(fuse_link_in), Naming::kOnly},
    {FUSE_UNLINK, 0, Naming::kOnly},
    {FUSE_RMDIR, 0, Naming::kOnly},
    {FUSE_SYMLINK, 0, Naming::kFirst},
    {FUSE_RENAME, sizeof(fuse_rename_in), Naming::kFirst},
    {FUSE_RENAME, sizeof(fuse_rename_in), Naming::kSecond},
    {FUSE_RENAME2, sizeof(fuse_rename2_in), Naming::kFirst},
    {FUSE_RENAME2, sizeof(fuse_rename2_in), Naming::kSecond},
};

// For a rename the arguments begin with the new directory, for a link with the file.
Message with_arguments(const Naming& naming) {
  Message message(naming.opcode, FUSE_ROOT_ID);
  if (naming.opcode == FUSE_LINK) return message.add(file);
  if (naming.place == Naming::kOnly || naming.arguments == 0) return message.fill(0, naming.arguments);
  return message.add(u64{FUSE_ROOT_ID}).fill(0, naming.arguments - 8);
}

void names() {
  char longest[257];
  memset(longest, 'x', 256);
  longest[256] = 0;
  const char* const bad[] = {"", ".", "..", "a/b", "/", "/", "/etc/passwd", "../outside", "file/.", longest};
  for (const Naming& naming : kNamings) {
    for (const char* name : bad) {
      Message message = with_arguments(naming);
      if (naming.place == Naming::kSecond) message.text("file");
      message.text(name);
      if (naming.place == Naming::kFirst) message.text("good");
      expect(name, name == longest ? -ENAMETOOLONG : -EINVAL, message);
    }
    Message unended = with_arguments(naming);
    if (naming.place == Naming::kSecond) unended.text("file");
    expect("a name without end", -EINVAL, unended.add("good", 4));
    Message two = with_arguments(naming);
    if (naming.place == Naming::kSecond) two.text("file");
    expect("a name with a NUL in it", -EINVAL, two.add("good\0bad\0", 9).text("more"));
  }
  // A symlink may say anything. Nobody here follows it.
  expect("a symlink", 0, Message(FUSE_SYMLINK, FUSE_ROOT_ID).text("made").text("/"));
  const u64 made = share->look_up("made");
  expect("a way out", -ENOTDIR, Message(FUSE_LOOKUP, made).text("etc"));
  expect("a way out", -ENOTDIR, Message(FUSE_MKDIR, made).add(fuse_mkdir_in{}).text("made"));
  expect("a way out", -ENOTDIR, Message(FUSE_UNLINK, made).text("etc"));
  expect("to remove", 0, Message(FUSE_UNLINK, FUSE_ROOT_ID).text("made"));
}

// --- cases 87 and 88

void nodes() {
  const u64 ids[] = {0, 999, ~u64{0}, file ^ u64{1} << 40};
  for (u32 opcode = 1; opcode <= kStatx; ++opcode) {
    const bool nodeless = opcode == FUSE_INIT || opcode == FUSE_DESTROY;
    const bool silent = opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
    if (nodeless || silent || !exists(opcode)) continue;
    for (const u64 id : ids) expect("no node", -ESTALE, Message(opcode, id).fill(0, kZeros));
  }
  for (const u64 id : ids) {
    expect("no directory", -ESTALE,
           Message(FUSE_RENAME, FUSE_ROOT_ID).add(fuse_rename_in{.newdir = id}).text("file").text("made"));
    expect("no file", -ESTALE,
           Message(FUSE_LINK, FUSE_ROOT_ID).add(fuse_link_in{.oldnodeid = id}).text("made"));
  }
  expect("below a file", -ENOTDIR, Message(FUSE_LOOKUP, file).text("x"));
  expect("into a file", -ENOTDIR,
         Message(FUSE_RENAME, FUSE_ROOT_ID).add(fuse_rename_in{.newdir = file}).text("link").text("made"));

  // All that can be forgotten, and more. What is open stays.
  const u64 handle = share->open(file, O_RDWR);
  expect_silence(Message(FUSE_FORGET, file).add(fuse_forget_in{.nlookup = ~u64{0}}));
  expect("what was forgotten", -ESTALE, Message(FUSE_GETATTR, file).add(fuse_getattr_in{}));
  expect_silence(Message(FUSE_FORGET, FUSE_ROOT_ID).add(fuse_forget_in{.nlookup = ~u64{0}}));
  expect_silence(Message(FUSE_BATCH_FORGET, 0)
                     .add(fuse_batch_forget_in{.count = ~u32{0}})
                     .add(fuse_forget_one{.nodeid = FUSE_ROOT_ID, .nlookup = ~u64{0}})
                     .fill(0xff, 7));
  if (share->look_up("file") != file) fail("a file that is open has another node");
  expect("what is open", 0, Message(FUSE_READ, file).add(fuse_read_in{.fh = handle, .size = 7}));
  share->release(file, handle);
}

// --- case 89

void handles() {
  struct Taking {
    u32 opcode;
    u32 arguments;  // which begin with a handle
    bool of_directories;
  };
  constexpr Taking kTaking[] = {
      {FUSE_READ, sizeof(fuse_read_in), false},
      {FUSE_WRITE, sizeof(fuse_write_in), false},
      {FUSE_FLUSH, sizeof(fuse_flush_in), false},
      {FUSE_RELEASE, sizeof(fuse_release_in), false},
      {FUSE_FSYNC, sizeof(fuse_fsync_in), false},
      {FUSE_FALLOCATE, sizeof(fuse_fallocate_in), false},
      {FUSE_LSEEK, sizeof(fuse_lseek_in), false},
      {FUSE_GETLK, sizeof(fuse_lk_in), false},
      {FUSE_SETLK, sizeof(fuse_lk_in), false},
      {FUSE_SETLKW, sizeof(fuse_lk_in), false},
      {FUSE_COPY_FILE_RANGE, sizeof(fuse_copy_file_range_in), false},
      {FUSE_READDIR, sizeof(fuse_read_in), true},
      {FUSE_READDIRPLUS, sizeof(fuse_read_in), true},
      {FUSE_FSYNCDIR, sizeof(fuse_fsync_in), true},
      {FUSE_RELEASEDIR, sizeof(fuse_release_in), true},
  };
  const u64 inner = share->look_up("inner", directory);
  const u64 closed = share->open(file, O_RDWR);
  const u64 of_file = share->open(file, O_RDWR), of_inner = share->open(inner, O_RDWR);
  const u64 of_directory = share->open(directory, O_RDONLY, FUSE_OPENDIR);
  const u64 of_root = share->open(FUSE_ROOT_ID, O_RDONLY, FUSE_OPENDIR);
  share->release(file, closed);
  for (const Taking& taking : kTaking) {
    const u64 own = taking.of_directories ? of_directory : of_file;
    const u64 others = taking.of_directories ? of_root : of_inner;
    const u64 of_other_kind = taking.of_directories ? of_file : of_directory;
    for (const u64 handle : {~u64{0}, u64{12345}, closed, own ^ u64{1} << 40, others, of_other_kind})
      expect("no handle", -EBADF,
             Message(taking.opcode, taking.of_directories ? directory : file)
                 .add(handle)
                 .fill(0, taking.arguments - 8));
  }
  const fuse_copy_file_range_in copy{.fh_in = of_file, .nodeid_out = file, .fh_out = of_inner, .len = 1};
  expect("another's handle", -EBADF, Message(FUSE_COPY_FILE_RANGE, file).add(copy));
  expect("another's handle", -EBADF,
         Message(FUSE_SETATTR, file).add(fuse_setattr_in{.valid = FATTR_FH | FATTR_SIZE, .fh = of_inner}));
  expect("another's handle", -EBADF,
         Message(FUSE_GETATTR, file).add(fuse_getattr_in{.getattr_flags = FUSE_GETATTR_FH, .fh = of_inner}));
  expect("another's handle", -EBADF,
         Message(FUSE_IOCTL, file).add(fuse_ioctl_in{.fh = of_inner, .cmd = FS_IOC_GETFLAGS, .out_size = 4}));
  share->release(file, of_file);
  share->release(inner, of_inner);
  share->release(directory, of_directory, FUSE_RELEASEDIR);
  share->release(FUSE_ROOT_ID, of_root, FUSE_RELEASEDIR);
}

// --- cases 93, 97 to 99, 118

void kinds() {
  for (const char* name : {"fifo", "socket"}) {
    const u64 node = share->look_up(name);
    for (const u32 flags : {O_RDONLY, O_WRONLY, O_RDWR})
      expect(name, -EPERM, Message(FUSE_OPEN, node).add(fuse_open_in{.flags = flags}));
    expect(name, -EINVAL, Message(FUSE_SETATTR, node).add(fuse_setattr_in{.valid = FATTR_SIZE}));
    expect(name, -ENOTDIR, Message(FUSE_OPENDIR, node).add(fuse_open_in{}));
  }
  const u64 link = share->look_up("link");
  expect("a symlink", -ELOOP, Message(FUSE_OPEN, link).add(fuse_open_in{}));
  expect("a symlink", -EINVAL, Message(FUSE_SETATTR, link).add(fuse_setattr_in{.valid = FATTR_SIZE}));
  expect("a directory", -EISDIR, Message(FUSE_OPEN, directory).add(fuse_open_in{}));
  for (const u32 type : {S_IFCHR, S_IFBLK})
    expect(
        "a device", -EPERM,
        Message(FUSE_MKNOD, FUSE_ROOT_ID).add(fuse_mknod_in{.mode = type | 0666, .rdev = 259}).text("made"));
  for (const u32 type : {S_IFDIR, S_IFLNK, 0170000})
    expect("a kind that is none", -EINVAL,
           Message(FUSE_MKNOD, FUSE_ROOT_ID).add(fuse_mknod_in{.mode = type | 0666}).text("made"));

  for (const u32 flags : {u32{O_PATH}, u32{O_TMPFILE}, u32{O_CREAT | O_EXCL}, u32{O_DIRECT | O_NOATIME},
                          u32{O_APPEND | O_RDWR}, ~u32{O_TRUNC}}) {
    const Answer answer = share->call(Message(FUSE_OPEN, file).add(fuse_open_in{.flags = flags}));
    share->release(file, answer.as<fuse_open_out>().fh);
  }

  const Answer target = share->call(Message(FUSE_READLINK, share->look_up("long")), 8_KiB);
  if (target.bytes != 4095) fail("a symlink says ", target.bytes, " bytes");
  for (u32 i = 0; i < target.bytes; ++i)
    if (target.payload[i] != 't') fail("a symlink says something else");
}

// --- cases 100 to 102, 112, 114, 117

void sizes() {
  const u64 handle = share->open(file, O_RDWR);
  const auto read = [handle](u64 offset, u32 size) {
    return Message(FUSE_READ, file).add(fuse_read_in{.fh = handle, .offset = offset, .size = size});
  };
  if (share->call(read(0, ~u32{0}), sizeof(fuse_out_header) + 3).bytes != 3)
    fail("three bytes are not read as three");
  if (share->call(read(100, ~u32{0}), 64_KiB).bytes != 0) fail("there is something behind the file");
  expect("a place that is none", -EINVAL, read(kNowhere, 1));
  const auto write = [handle](u64 offset, u32 size) {
    return Message(FUSE_WRITE, file)
        .add(fuse_write_in{.fh = handle, .offset = offset, .size = size})
        .add("xxxx", 4);
  };
  for (const u32 size : {0u, 3u, 5u, ~0u})
    expect("more or less bytes than there are", -EINVAL, write(0, size));
  for (const u64 offset : {kNowhere - 1, kNowhere, ~u64{0}})
    expect("a place that is none", -EFBIG, write(offset, 4));

  expect("a mode that is none", -EOPNOTSUPP,
         Message(FUSE_FALLOCATE, file)
             .add(fuse_fallocate_in{.fh = handle, .offset = 0, .length = 1, .mode = 0x8000'0000}));
  expect("too long", -EFBIG,
         Message(FUSE_FALLOCATE, file)
             .add(fuse_fallocate_in{.fh = handle, .offset = kNowhere - 1, .length = kNowhere - 1}));
  expect("whence", -EINVAL, Message(FUSE_LSEEK, file).add(fuse_lseek_in{.fh = handle, .whence = 99}));
  const fuse_copy_file_range_in onto_itself{.fh_in = handle, .nodeid_out = file, .fh_out = handle, .len = 7};
  expect("onto itself", -EINVAL, Message(FUSE_COPY_FILE_RANGE, file).add(onto_itself));
  fuse_copy_file_range_in far = onto_itself;
  far.off_out = kNowhere;
  expect("to nowhere", -EINVAL, Message(FUSE_COPY_FILE_RANGE, file).add(far));
  expect("a size that is none", -EFBIG,
         Message(FUSE_SETATTR, file).add(fuse_setattr_in{.valid = FATTR_SIZE, .size = kNowhere}));
  share->release(file, handle);

  const u64 stream = share->open(FUSE_ROOT_ID, O_RDONLY, FUSE_OPENDIR);
  for (const u32 opcode : {FUSE_READDIR, FUSE_READDIRPLUS}) {
    const auto list = [&](u64 offset) {
      return Message(opcode, FUSE_ROOT_ID).add(fuse_read_in{.fh = stream, .offset = offset, .size = ~u32{0}});
    };
    const Answer nothing = share->call(list(kNowhere));
    if (!nothing.came || nothing.error != 0 || nothing.bytes != 0) fail("entries at a place that is none");
    expect("room for no entry", opcode, -EINVAL, share->call(list(0), sizeof(fuse_out_header) + 1));
  }
  share->release(FUSE_ROOT_ID, stream, FUSE_RELEASEDIR);

  for (const u64 unique : {u64{0}, u64{1}, ~u64{0}})
    expect_silence(Message(FUSE_INTERRUPT, 0).add(fuse_interrupt_in{.unique = unique}));
  if (share->call_urgently(Message(FUSE_LOOKUP, FUSE_ROOT_ID).text("file")).as<fuse_entry_out>().nodeid !=
      file)
    fail("the high-priority queue finds another file");
}

// --- cases 104, 107 to 109, 111

void attributes() {
  const auto set = [](const char* name, const void* value, u32 bytes) {
    Message message(FUSE_SETXATTR, file);
    message.add(fuse_setxattr_in{.size = bytes}).text(name);
    return bytes > 64 ? message.then(value, bytes) : message.add(value, bytes);
  };
  static u8 large[64_KiB + 1];
  expect("64 KiB and a byte", -E2BIG, set("user.large", large, sizeof large));
  for (const char* name : {"security.selinux", "security.ima", "system.nfs4_acl", "btrfs.x", "nonsense"})
    expect(name, -EOPNOTSUPP, set(name, "x", 1));
  char longest[300];
  memset(longest, 'x', sizeof longest - 1);
  memcpy(longest, "user.", 5);
  longest[sizeof longest - 1] = 0;
  expect("a long name", -ERANGE, set(longest, "x", 1));
  expect("no name", -EINVAL, set("", "x", 1));
  expect("a name without end", -EINVAL,
         Message(FUSE_SETXATTR, file).add(fuse_setxattr_in{}).add("user.x", 6));
  expect("a name without end", -EINVAL, Message(FUSE_REMOVEXATTR, file).add("user.x", 6));
  share->call(Message(FUSE_LISTXATTR, file).add(fuse_getxattr_in{})).as<fuse_getxattr_out>();

  const u64 handle = share->open(file, O_RDWR);
  for (const u32 command : {0u, 0x5401u, 0x1261u, 0xc020660bu, ~0u})  // TCGETS, BLKFLSBUF, FS_IOC_FIEMAP
    expect("an ioctl", -ENOTTY,
           Message(FUSE_IOCTL, file).add(fuse_ioctl_in{.fh = handle, .cmd = command, .out_size = 64}));
  share->release(file, handle);

  const auto own = [](u32 uid) {
    return Message(FUSE_SETATTR, file).add(fuse_setattr_in{.valid = FATTR_UID, .uid = uid});
  };
  expect("nobody's", ids_pass ? -EINVAL : 0, own(~u32{0}));  // which is to leave it
  if (ids_pass) {
    for (const u32 id : {0u, 0x8000'0000u})
      expect("by nobody", -EPERM,
             Message(FUSE_MKDIR, FUSE_ROOT_ID).by(~u32{0}, id).add(fuse_mkdir_in{}).text("made"));
    return;
  }
  expect("another's", -EPERM, own(4321));
  expect("set-id bits", -EPERM,
         Message(FUSE_SETATTR, file).add(fuse_setattr_in{.valid = FATTR_MODE, .mode = 06755}));
  for (const u32 opcode : {FUSE_CREATE, FUSE_TMPFILE})
    expect("set-id bits", -EPERM,
           Message(opcode, FUSE_ROOT_ID).add(fuse_create_in{.flags = O_RDWR, .mode = 04755}).text("made"));
  for (const char* name : {"trusted.overlay.opaque", "security.capability", "system.posix_acl_access"})
    expect(name, -EOPNOTSUPP, set(name, "x", 1));
}

// --- case 113

void locks() {
  const u64 one = share->open(file, O_RDWR), other = share->open(file, O_RDWR);
  const auto lock = [](u64 handle, u64 owner, u64 place, u32 opcode) {
    return Message(opcode, file)
        .add(fuse_lk_in{
            .fh = handle, .owner = owner, .lk = {.start = place, .end = place, .type = F_WRLCK, .pid = 1}});
  };
  expect("a lock", 0, lock(one, 1, 0, FUSE_SETLK));
  expect("a lock", 0, lock(other, 2, 1, FUSE_SETLK));
  Message waiting = lock(one, 1, 1, FUSE_SETLKW);
  share->begin(0, waiting);
  expect("each waits for the other", -EDEADLK, lock(other, 2, 0, FUSE_SETLKW));
  all_is_well("a lock that is waited for");
  if (share->ended(0)) fail("a lock was given twice");
  expect_silence(Message(FUSE_INTERRUPT, 0).add(fuse_interrupt_in{.unique = share->unique_of(0)}));
  if (share->end_of(0) != -EINTR) fail("who waits was not interrupted");
  share->release(file, one);
  share->release(file, other);
}

// --- case 116

void read_only() {
  constexpr u32 kChanging[] = {
      FUSE_SETATTR,   FUSE_MKNOD,    FUSE_MKDIR,           FUSE_SYMLINK,    FUSE_CREATE, FUSE_TMPFILE,
      FUSE_UNLINK,    FUSE_RMDIR,    FUSE_RENAME,          FUSE_RENAME2,    FUSE_LINK,   FUSE_WRITE,
      FUSE_FALLOCATE, FUSE_SETXATTR, FUSE_COPY_FILE_RANGE, FUSE_REMOVEXATTR};
  for (const u32 opcode : kChanging)
    expect("read-only", opcode, -EROFS, fixed->call(Message(opcode, FUSE_ROOT_ID).fill(0, kZeros)));
  const u64 node = fixed->look_up("file");
  for (const u32 flags : {u32{O_WRONLY}, u32{O_RDWR}, u32{O_RDONLY | O_TRUNC}})
    expect("read-only", FUSE_OPEN, -EROFS,
           fixed->call(Message(FUSE_OPEN, node).add(fuse_open_in{.flags = flags})));
  const u64 handle = fixed->open(node, O_RDONLY);
  expect("read-only", FUSE_IOCTL, -EROFS,
         fixed->call(Message(FUSE_IOCTL, node)
                         .add(fuse_ioctl_in{.fh = handle, .cmd = FS_IOC_SETFLAGS, .in_size = 4})
                         .fill(0, 4)));
  fixed->release(node, handle);
}

void round() {
  before_initialisation();
  struct {
    const char* what;
    void (*run)();
  } const attacks[] = {{"framing", framing},       {"names", names}, {"nodes", nodes},
                       {"handles", handles},       {"kinds", kinds}, {"sizes", sizes},
                       {"attributes", attributes}, {"locks", locks}, {"read_only", read_only}};
  for (const auto& attack : attacks) {
    attack.run();
    all_is_well(attack.what);
  }
}

}  // namespace

void run() {
  open_target();
  static FuseClient second(1);
  fixed = &second;
  fixed->start();
  print("fuse attack\n");
  const u64 rounds = parameter("rounds", 1);
  ids_pass = parameter("passes", 0);
  leave_kernel_mode();
  fixed->initialise();
  round();
  rest("counted-1");
  for (u64 i = 0; i < rounds; ++i) {
    round();
    if (i + 1 < rounds) expect("the end", 0, Message(FUSE_DESTROY, 0));
  }
  rest("counted-2");
  print("fuse attack: ok\n");
}

}  // namespace payload
