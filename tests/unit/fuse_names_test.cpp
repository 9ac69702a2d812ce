// SPDX-License-Identifier: Apache-2.0
// Names and what is done with them: lookups, making, removing, renaming; and that none leads out of the
// share.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <thread>

#include "tests/fakes/fuse_guest.h"
#include "tests/fakes/skip.h"

namespace uvmm {
namespace {

// Each operation that takes a name, with that name in each of its places.
struct Naming {
  const char* what;
  u32 opcode;
  Bytes arguments;
};

std::vector<Naming> with_name(const Bytes& name, u64 file) {
  const Bytes good = text("good");
  return {
      {"LOOKUP", FUSE_LOOKUP, name},
      {"MKNOD", FUSE_MKNOD, bytes_of(fuse_mknod_in{.mode = S_IFREG | 0644}) + name},
      {"MKDIR", FUSE_MKDIR, bytes_of(fuse_mkdir_in{.mode = 0755}) + name},
      {"SYMLINK", FUSE_SYMLINK, name + text("target")},
      {"CREATE", FUSE_CREATE, bytes_of(fuse_create_in{.flags = O_RDWR, .mode = 0644}) + name},
      {"UNLINK", FUSE_UNLINK, name},
      {"RMDIR", FUSE_RMDIR, name},
      {"RENAME from", FUSE_RENAME, bytes_of(fuse_rename_in{.newdir = FUSE_ROOT_ID}) + name + good},
      {"RENAME to", FUSE_RENAME, bytes_of(fuse_rename_in{.newdir = FUSE_ROOT_ID}) + text("a") + name},
      {"RENAME2 from", FUSE_RENAME2, bytes_of(fuse_rename2_in{.newdir = FUSE_ROOT_ID}) + name + good},
      {"LINK", FUSE_LINK, bytes_of(fuse_link_in{.oldnodeid = file}) + name},
      {"RENAME2 to", FUSE_RENAME2, bytes_of(fuse_rename2_in{.newdir = FUSE_ROOT_ID}) + text("a") + name},
  };
}

std::vector<std::string> tree(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    names.push_back(entry.path());
  std::ranges::sort(names);
  return names;
}

TEST_CASE("[cases 90 and 92] names: one that is none is refused by every operation, and nothing changes") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 file = guest.lookup("a");
  const auto before = tree(guest.directory);
  const std::string longest(256, 'x');
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("/"),
        std::string("/etc/passwd"), std::string("../x"), longest}) {
    for (const Naming& naming : with_name(text(name), file)) {
      INFO(naming.what << ' ' << name);
      const i32 error = guest.error_of(naming.opcode, FUSE_ROOT_ID, naming.arguments);
      CHECK(error == (name.size() > 255 ? -ENAMETOOLONG : -EINVAL));
    }
  }
  CHECK(tree(guest.directory) == before);
}

TEST_CASE(
    "[case 90] names: one without its NUL, or with something behind it, is refused by every operation") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 file = guest.lookup("a");
  const auto before = tree(guest.directory);
  for (Naming& naming : with_name(text("last"), file)) {
    if (std::string(naming.what).ends_with("from") || naming.opcode == FUSE_SYMLINK) continue;
    INFO(naming.what);
    CHECK(guest.error_of(naming.opcode, FUSE_ROOT_ID, naming.arguments + text("more")) == -EINVAL);
    naming.arguments.pop_back();
    CHECK(guest.error_of(naming.opcode, FUSE_ROOT_ID, naming.arguments) == -EINVAL);
  }
  CHECK(guest.error_of(FUSE_SYMLINK, FUSE_ROOT_ID, text("name") + Bytes{'t'}) == -EINVAL);
  CHECK(guest.error_of(FUSE_SYMLINK, FUSE_ROOT_ID, text("name") + text("target") + text("more")) == -EINVAL);
  CHECK(guest.error_of(FUSE_SYMLINK, FUSE_ROOT_ID, text("name") + text("")) == -EINVAL);
  CHECK(tree(guest.directory) == before);
}

TEST_CASE("[case 91] names: there is no way up from the root") {
  FuseGuest guest;
  CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text("..")) == -EINVAL);
  CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text(".")) == -EINVAL);
}

TEST_CASE("names: a symlink may say anything, and nobody here follows it") {
  FuseGuest guest;
  const auto entry = guest.call<fuse_entry_out>(FUSE_SYMLINK, FUSE_ROOT_ID, text("out") + text("/etc"));
  CHECK(S_ISLNK(entry.attr.mode));
  CHECK(guest.error_of(FUSE_LOOKUP, entry.nodeid, text("passwd")) == -ENOTDIR);
  CHECK(guest.error_of(FUSE_MKDIR, entry.nodeid, bytes_of(fuse_mkdir_in{}) + text("x")) == -ENOTDIR);
  CHECK(guest.error_of(FUSE_SETATTR, entry.nodeid, bytes_of(fuse_setattr_in{.valid = FATTR_SIZE})) ==
        -EINVAL);
  const FuseAnswer target = guest.call(FUSE_READLINK, entry.nodeid);
  CHECK(std::string(target.payload.begin(), target.payload.end()) == "/etc");
}

TEST_CASE("[case 93] names: a symlink's node is not opened") {
  FuseGuest guest;
  guest.put("file", "");
  std::filesystem::create_symlink("file", guest.path("link"));
  const u64 node = guest.lookup("link");
  CHECK(guest.error_of(FUSE_OPEN, node, bytes_of(fuse_open_in{})) == -ELOOP);
  CHECK(guest.error_of(FUSE_OPENDIR, node, bytes_of(fuse_open_in{})) == -ENOTDIR);
}

TEST_CASE("[cases 97 and 99] names: devices are not made, and what is no file or directory is never opened") {
  FuseGuest guest;
  for (const u32 type : {S_IFCHR, S_IFBLK}) {
    const fuse_mknod_in device{.mode = type | 0600, .rdev = 0x103};
    CHECK(guest.error_of(FUSE_MKNOD, FUSE_ROOT_ID, bytes_of(device) + text("device")) == -EPERM);
  }
  CHECK(guest.error_of(FUSE_MKNOD, FUSE_ROOT_ID, bytes_of(fuse_mknod_in{.mode = S_IFBLK}) + text("b")) ==
        -EPERM);
  CHECK(guest.error_of(FUSE_MKNOD, FUSE_ROOT_ID, bytes_of(fuse_mknod_in{.mode = S_IFDIR}) + text("d")) ==
        -EINVAL);
  CHECK(tree(guest.directory).empty());

  REQUIRE(::mkfifo(guest.path("fifo").c_str(), 0600) == 0);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un where{.sun_family = AF_UNIX};
  std::strcpy(where.sun_path, guest.path("socket").c_str());
  REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&where), sizeof where) == 0);
  for (const char* name : {"fifo", "socket"}) {
    for (const u32 flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
      INFO(name);
      CHECK(guest.error_of(FUSE_OPEN, guest.lookup(name), bytes_of(fuse_open_in{.flags = flags})) == -EPERM);
      const fuse_create_in create{.flags = flags | O_CREAT, .mode = S_IFREG | 0644};
      CHECK(guest.error_of(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(create) + text(name)) == -EPERM);
    }
  }
  ::close(listener);
  if (::geteuid() == 0 && ::mknod(guest.path("null").c_str(), S_IFCHR | 0666, 0x103) == 0)
    CHECK(guest.error_of(FUSE_OPEN, guest.lookup("null"), bytes_of(fuse_open_in{})) == -EPERM);
}

TEST_CASE("names: a fifo, a socket and the whiteout of overlayfs can be made") {
  FuseGuest guest;
  for (const u32 type : {S_IFIFO, S_IFSOCK, S_IFREG, S_IFCHR}) {
    const auto entry = guest.call<fuse_entry_out>(
        FUSE_MKNOD, FUSE_ROOT_ID,
        bytes_of(fuse_mknod_in{.mode = type | 0600}) + text(fmt::format("n{}", type)));
    CHECK(entry.attr.mode == (type | 0600));
    CHECK(entry.attr.rdev == 0);
  }
}

TEST_CASE("[case 87] names: an id that was never given, or is forgotten, is ESTALE") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  for (const u64 id : {u64{0}, u64{99}, ~u64{0}, u64{1} << 32 | 1})
    CHECK(guest.error_of(FUSE_GETATTR, id, bytes_of(fuse_getattr_in{})) == -ESTALE);
  guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 1}), 0);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == -ESTALE);
  guest.put("b", "");
  CHECK(guest.lookup("b") != node);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == -ESTALE);
}

TEST_CASE(
    "[case 88] names: to forget more than was looked up forgets all, and never the root or what is open") {
  FuseGuest guest;
  guest.put("a", "content");
  const u64 node = guest.lookup("a");
  const u64 handle = guest.open(node, O_RDONLY);
  guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = ~u64{0}}), 0);
  CHECK(guest.fs->server().inodes.size() == 2);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == -ESTALE);
  CHECK(guest.lookup("a") == node);
  CHECK(guest.read(node, handle, 0, 7).size() == 7);
  guest.release(node, handle);

  guest.call(FUSE_FORGET, FUSE_ROOT_ID, bytes_of(fuse_forget_in{.nlookup = ~u64{0}}), 0);
  const Bytes batch = bytes_of(fuse_batch_forget_in{.count = ~u32{0}}) +
                      bytes_of(fuse_forget_one{.nodeid = FUSE_ROOT_ID, .nlookup = 5}) +
                      bytes_of(fuse_forget_one{.nodeid = 77, .nlookup = 5}) +
                      bytes_of(fuse_forget_one{.nodeid = node, .nlookup = 5}) + Bytes(7, 1);
  guest.call(FUSE_BATCH_FORGET, 0, batch, 0);
  CHECK(guest.fs->server().inodes.size() == 1);
  CHECK(guest.lookup("a") != 0);
}

TEST_CASE("names: a node lives as long as it has been looked up more often than forgotten") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  for (int i = 0; i < 4; ++i) CHECK(guest.lookup("a") == node);
  guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 4}), 0);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == 0);
  guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 1}), 0);
  CHECK(guest.error_of(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{})) == -ESTALE);
}

TEST_CASE("names: two names of one file are one node") {
  FuseGuest guest;
  guest.put("a", "");
  const u64 node = guest.lookup("a");
  const auto entry = guest.call<fuse_entry_out>(FUSE_LINK, FUSE_ROOT_ID,
                                                bytes_of(fuse_link_in{.oldnodeid = node}) + text("b"));
  CHECK(entry.nodeid == node);
  CHECK(entry.attr.nlink == 2);
  CHECK(guest.error_of(FUSE_LINK, FUSE_ROOT_ID, bytes_of(fuse_link_in{.oldnodeid = 99}) + text("c")) ==
        -ESTALE);
}

TEST_CASE("names: a rename replaces, refuses to, or exchanges, as it is asked") {
  FuseGuest guest;
  guest.put("a", "A");
  guest.put("b", "B");
  const auto rename = [&](std::string_view from, std::string_view to, u32 flags) {
    return guest.error_of(
        FUSE_RENAME2, FUSE_ROOT_ID,
        bytes_of(fuse_rename2_in{.newdir = FUSE_ROOT_ID, .flags = flags}) + text(from) + text(to));
  };
  CHECK(rename("a", "b", RENAME_NOREPLACE) == -EEXIST);
  CHECK(rename("a", "b", RENAME_EXCHANGE) == 0);
  CHECK(guest.get("a") == "B");
  CHECK(guest.get("b") == "A");
  CHECK(rename("a", "b", 8) == -EINVAL);
  CHECK(rename("a", "b", 0) == 0);
  CHECK(guest.get("b") == "B");
  CHECK_FALSE(std::filesystem::exists(guest.path("a")));
  CHECK(guest.error_of(FUSE_RENAME, FUSE_ROOT_ID,
                       bytes_of(fuse_rename_in{.newdir = 99}) + text("b") + text("c")) == -ESTALE);
}

TEST_CASE(
    "names: removed directories and files are gone, but an open file can be read, written and looked at") {
  FuseGuest guest;
  u64 handle = 0;
  const u64 node = guest.create("a", handle);
  CHECK(guest.write(node, handle, 0, "content") == 7);
  CHECK(guest.error_of(FUSE_UNLINK, FUSE_ROOT_ID, text("a")) == 0);
  CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text("a")) == -ENOENT);
  CHECK(guest.read(node, handle, 0, 10) == Bytes{'c', 'o', 'n', 't', 'e', 'n', 't'});
  const auto attributes = guest.call<fuse_attr_out>(FUSE_GETATTR, node, bytes_of(fuse_getattr_in{}));
  CHECK(attributes.attr.nlink == 0);
  CHECK(attributes.attr.size == 7);
  const fuse_setattr_in cut{.valid = FATTR_SIZE, .size = 3};
  CHECK(guest.error_of(FUSE_SETATTR, node, bytes_of(cut)) == 0);
  CHECK(guest.read(node, handle, 0, 10).size() == 3);
  guest.release(node, handle);

  CHECK(guest.error_of(FUSE_MKDIR, FUSE_ROOT_ID, bytes_of(fuse_mkdir_in{.mode = 0755}) + text("d")) == 0);
  CHECK(guest.error_of(FUSE_UNLINK, FUSE_ROOT_ID, text("d")) == -EISDIR);
  CHECK(guest.error_of(FUSE_RMDIR, FUSE_ROOT_ID, text("d")) == 0);
}

TEST_CASE("[case 118] names: a symlink's target comes whole, however long") {
  FuseGuest guest;
  const std::string target(4095, 't');
  REQUIRE(::symlink(target.c_str(), guest.path("long").c_str()) == 0);
  const FuseAnswer answer = guest.call(FUSE_READLINK, guest.lookup("long"), {}, 4096 + 16);
  CHECK(std::string(answer.payload.begin(), answer.payload.end()) == target);
  guest.put("file", "");
  CHECK(guest.error_of(FUSE_READLINK, guest.lookup("file")) == -EINVAL);
}

TEST_CASE("[case 94] names: what the host makes a symlink of while it is used leads nowhere") {
  for (const bool handles : {true, false}) {
    FuseGuest guest({.limits = {.paths = 4}, .file_handles = handles});
    std::filesystem::create_directory(guest.path("d"));
    guest.put("d/a", "inside");
    const u64 directory = guest.lookup("d");
    const u64 file = guest.lookup("a", directory);
    // So that no descriptor of them is at hand any more.
    for (int i = 0; i < 8; ++i) {
      guest.put(fmt::format("f{}", i), "");
      guest.error_of(FUSE_GETATTR, guest.lookup(fmt::format("f{}", i)), bytes_of(fuse_getattr_in{}));
    }
    std::filesystem::rename(guest.path("d"), guest.path("moved"));
    std::filesystem::create_symlink("/etc", guest.path("d"));
    std::filesystem::rename(guest.path("moved/a"), guest.path("moved/b"));
    std::filesystem::create_symlink("/etc/passwd", guest.path("moved/a"));
    INFO(handles);
    const i32 through_directory = guest.error_of(FUSE_LOOKUP, directory, text("passwd"));
    CHECK(through_directory == (guest.fs->server().share.file_handles ? -ENOENT : -ESTALE));
    const FuseAnswer opened = guest.call(FUSE_OPEN, file, bytes_of(fuse_open_in{}));
    if (guest.fs->server().share.file_handles) {
      CHECK(guest.read(file, opened.as<fuse_open_out>().fh, 0, 20) == Bytes{'i', 'n', 's', 'i', 'd', 'e'});
    } else {
      CHECK(opened.error == -ESTALE);
    }
    const auto link = guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("d"));
    CHECK(S_ISLNK(link.attr.mode));
  }
}

// The host exchanges a directory and a symlink that leads out, as fast as it can, while this lives.
class Swapper {
 public:
  explicit Swapper(const FuseGuest& guest) : first_(guest.path("d")), second_(guest.path("link")) {}
  Swapper(const Swapper&) = delete;
  Swapper& operator=(const Swapper&) = delete;
  ~Swapper() {
    stopping_ = true;
    thread_.join();
  }
  u64 swaps() const { return swaps_; }

 private:
  void run() {
    while (!stopping_) {
      ::renameat2(AT_FDCWD, first_.c_str(), AT_FDCWD, second_.c_str(), RENAME_EXCHANGE);
      ++swaps_;
    }
  }
  const std::string first_, second_;
  std::atomic<bool> stopping_ = false;
  std::atomic<u64> swaps_ = 0;
  std::thread thread_{[this] { run(); }};
};

TEST_CASE("[case 94] names: a directory that the host swaps for a symlink all the time never leads out") {
  const u64 pairs = std::getenv("UVMM_TEST_FULL") ? 100'000 : 1000;
  for (const bool handles : {true, false}) {
    FuseGuest outside({.init = false});
    outside.put("a", "outside");
    FuseGuest guest({.limits = {.paths = 4}, .file_handles = handles});
    std::filesystem::create_directory(guest.path("d"));
    guest.put("d/a", "inside");
    std::filesystem::create_directory_symlink(outside.directory, guest.path("link"));
    u64 opened = 0;
    const Swapper swapper(guest);
    while (swapper.swaps() == 0) std::this_thread::yield();
    for (u64 i = 0; i < pairs; ++i) {
      const u64 directory = guest.lookup("d");
      const u64 file = guest.lookup("a", directory);
      const FuseAnswer answer = guest.call(FUSE_OPEN, file, bytes_of(fuse_open_in{}));
      if (answer.error == 0) {
        const u64 handle = answer.as<fuse_open_out>().fh;
        REQUIRE(guest.read(file, handle, 0, 20) == Bytes{'i', 'n', 's', 'i', 'd', 'e'});
        guest.release(file, handle);
        ++opened;
      }
      for (const u64 node : {file, directory})
        guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 1}), 0);
    }
    CHECK(opened > 0);
    CHECK(guest.fs->server().inodes.size() == 1);
  }
}

TEST_CASE("[case 95] names: a directory that the host moves away has nothing above it") {
  FuseGuest guest;
  std::filesystem::create_directories(guest.path("in/d"));
  const u64 inside = guest.lookup("in");
  const u64 directory = guest.lookup("d", inside);
  const std::string elsewhere = guest.directory + "-elsewhere";
  std::filesystem::create_directory(elsewhere);
  std::filesystem::rename(guest.path("in/d"), elsewhere + "/d");
  std::filesystem::create_directory(elsewhere + "/secret");
  CHECK(guest.error_of(FUSE_LOOKUP, directory, text("..")) == -EINVAL);
  CHECK(guest.error_of(FUSE_LOOKUP, directory, text("secret")) < 0);
  CHECK(guest.error_of(FUSE_LOOKUP, directory, text("../secret")) == -EINVAL);
  std::filesystem::remove_all(elsewhere);
}

TEST_CASE("[case 96] names: what another file system has below the share is told apart") {
  FuseGuest guest({.init = false});
  std::filesystem::create_directories(guest.path("mount"));
  if (::mount("tmpfs", guest.path("mount").c_str(), "tmpfs", 0, nullptr) < 0)
    return skip("mount: needs root");
  guest.put("mount/a", "");
  for (const bool submounts : {true, false}) {
    guest.initialise(submounts ? ~u64{0} : ~u64{FUSE_SUBMOUNTS});
    const auto mount = guest.call<fuse_entry_out>(FUSE_LOOKUP, FUSE_ROOT_ID, text("mount"));
    const auto file = guest.call<fuse_entry_out>(FUSE_LOOKUP, mount.nodeid, text("a"));
    CHECK(mount.nodeid != FUSE_ROOT_ID);
    CHECK(((mount.attr.flags & FUSE_ATTR_SUBMOUNT) != 0) == submounts);
    CHECK((file.attr.flags & FUSE_ATTR_SUBMOUNT) == 0);
    CHECK((mount.attr.ino >> 48 != 0) == !submounts);
    CHECK((file.attr.ino >> 48 != 0) == !submounts);
    guest.error_of(FUSE_DESTROY, 0);
  }
  ::umount(guest.path("mount").c_str());
}

TEST_CASE("names: what the host renames, removes, replaces or changes under an open file") {
  for (const bool handles : {true, false}) {
    INFO(handles);
    FuseGuest guest({.limits = {.paths = 4}, .file_handles = handles});
    guest.put("a", "old");
    const u64 node = guest.lookup("a");
    const u64 handle = guest.open(node, O_RDWR);
    const Bytes getattr = bytes_of(fuse_getattr_in{});

    std::filesystem::rename(guest.path("a"), guest.path("b"));
    CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text("a")) == -ENOENT);
    CHECK(guest.lookup("b") == node);
    std::filesystem::permissions(guest.path("b"), std::filesystem::perms(0));
    CHECK(guest.call<fuse_attr_out>(FUSE_GETATTR, node, getattr).attr.mode == S_IFREG);
    CHECK(guest.write(node, handle, 3, "er") == 2);

    std::filesystem::remove(guest.path("b"));
    guest.put("b", "another");
    CHECK(guest.lookup("b") != node);
    CHECK(guest.call<fuse_attr_out>(FUSE_GETATTR, node, getattr).attr.nlink == 0);
    CHECK(guest.read(node, handle, 0, 10) == Bytes{'o', 'l', 'd', 'e', 'r'});
    guest.release(node, handle);
    // So that no descriptor of it is at hand any more.
    for (int i = 0; i < 8; ++i) {
      guest.put(fmt::format("f{}", i), "");
      guest.error_of(FUSE_GETATTR, guest.lookup(fmt::format("f{}", i)), getattr);
    }
    CHECK(guest.call(FUSE_OPEN, node, bytes_of(fuse_open_in{.flags = O_RDWR})).error == -ESTALE);
    CHECK(guest.get("b") == "another");
  }
}

TEST_CASE("[case 119] names: when the host removes the share, the guest gets errors") {
  FuseGuest guest;
  std::filesystem::remove_all(guest.directory);
  CHECK(guest.error_of(FUSE_LOOKUP, FUSE_ROOT_ID, text("a")) == -ENOENT);
  CHECK(guest.error_of(FUSE_MKDIR, FUSE_ROOT_ID, bytes_of(fuse_mkdir_in{}) + text("a")) == -ENOENT);
  CHECK(guest.call<fuse_attr_out>(FUSE_GETATTR, FUSE_ROOT_ID, bytes_of(fuse_getattr_in{})).attr.nlink == 0);
  CHECK(guest.error_of(FUSE_STATFS, FUSE_ROOT_ID) == 0);
}

TEST_CASE("names: a file that has another's number is another node") {
  // Numbers are used again at once on some file systems; the time of birth tells.
  FuseGuest guest;
  guest.put("a", "");
  const u64 first = guest.lookup("a");
  for (int i = 0; i < 50; ++i) {
    std::filesystem::remove(guest.path("a"));
    guest.put("a", "");
    CHECK(guest.lookup("a") != first);
  }
}

TEST_CASE("names: a share without file handles finds what was renamed by the guest") {
  FuseGuest guest({.limits = {.paths = 4}, .file_handles = false});
  std::filesystem::create_directories(guest.path("a/b/c"));
  guest.put("a/b/c/file", "content");
  const u64 a = guest.lookup("a");
  const u64 b = guest.lookup("b", a);
  const u64 c = guest.lookup("c", b);
  const u64 file = guest.lookup("file", c);
  CHECK(guest.error_of(FUSE_RENAME, FUSE_ROOT_ID,
                       bytes_of(fuse_rename_in{.newdir = FUSE_ROOT_ID}) + text("a") + text("z")) == 0);
  for (int i = 0; i < 8; ++i) {
    guest.put(fmt::format("f{}", i), "");
    guest.error_of(FUSE_GETATTR, guest.lookup(fmt::format("f{}", i)), bytes_of(fuse_getattr_in{}));
  }
  CHECK(guest.fs->server().files.open_paths() <= 4);
  const u64 handle = guest.open(file, O_RDONLY);
  CHECK(guest.read(file, handle, 0, 7).size() == 7);
  // A parent stays as long as something is found through it, and goes then.
  for (const u64 node : {a, b, c}) guest.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = 1}), 0);
  CHECK(guest.error_of(FUSE_GETATTR, c, bytes_of(fuse_getattr_in{})) == -ESTALE);
  CHECK(guest.error_of(FUSE_GETATTR, file, bytes_of(fuse_getattr_in{})) == 0);
  guest.release(file, handle);
  const u32 before = guest.fs->server().inodes.size();
  guest.call(FUSE_FORGET, file, bytes_of(fuse_forget_in{.nlookup = 1}), 0);
  CHECK(guest.fs->server().inodes.size() == before - 4);
}

// Of this thread.
void give_up_file_handles() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, sets) != 0) return;
  // Later kernels take either.
  sets[0].effective &= ~(u32{1} << CAP_DAC_READ_SEARCH | u32{1} << CAP_SYS_ADMIN);
  ::syscall(SYS_capset, &header, sets);
}

TEST_CASE("names: where this process may not open by file handle, files are found by their names") {
  std::thread([] {
    give_up_file_handles();
    FuseGuest guest({.limits = {.paths = 4}});
    CHECK_FALSE(guest.fs->server().share.file_handles);
    const auto look_at_others = [&] {
      for (int i = 0; i < 8; ++i) {
        guest.put(fmt::format("f{}", i), "");
        guest.error_of(FUSE_GETATTR, guest.lookup(fmt::format("f{}", i)), bytes_of(fuse_getattr_in{}));
      }
      CHECK(guest.fs->server().files.open_paths() <= 4);
    };
    std::filesystem::create_directories(guest.path("a/b"));
    guest.put("a/b/file", "content");
    const u64 b = guest.lookup("b", guest.lookup("a"));
    const u64 file = guest.lookup("file", b);
    look_at_others();
    const u64 handle = guest.open(file, O_RDONLY);
    CHECK(guest.read(file, handle, 0, 7) == Bytes{'c', 'o', 'n', 't', 'e', 'n', 't'});
    guest.release(file, handle);

    // What the host renames is not found until the guest looks it up by its new name; then it is the same.
    std::filesystem::rename(guest.path("a/b/file"), guest.path("a/b/moved"));
    look_at_others();
    CHECK(guest.error_of(FUSE_GETATTR, file, bytes_of(fuse_getattr_in{})) == -ESTALE);
    CHECK(guest.lookup("moved", b) == file);
    CHECK(guest.error_of(FUSE_GETATTR, file, bytes_of(fuse_getattr_in{})) == 0);

    // Another file by its name is not it.
    guest.put("a/b/other", "other");
    std::filesystem::rename(guest.path("a/b/other"), guest.path("a/b/moved"));
    look_at_others();
    CHECK(guest.error_of(FUSE_GETATTR, file, bytes_of(fuse_getattr_in{})) == -ESTALE);
    CHECK(guest.error_of(FUSE_OPEN, file, bytes_of(fuse_open_in{.flags = O_RDONLY})) == -ESTALE);
  }).join();
}

TEST_CASE("names: where the host's file system has no file handles, files are found by their names") {
  FuseGuest guest({.options = {.read_only = true}, .limits = {.paths = 4}, .directory = "/proc"});
  CHECK_FALSE(guest.fs->server().share.file_handles);
  const u64 version = guest.lookup("version");
  for (const char* other : {"cmdline", "uptime", "stat", "meminfo", "loadavg", "devices", "filesystems"})
    guest.error_of(FUSE_GETATTR, guest.lookup(other), bytes_of(fuse_getattr_in{}));
  CHECK(guest.fs->server().files.open_paths() <= 4);
  const u64 handle = guest.open(version, O_RDONLY);
  CHECK(guest.read(version, handle, 0, 5) == Bytes{'L', 'i', 'n', 'u', 'x'});
}

}  // namespace
}  // namespace uvmm
