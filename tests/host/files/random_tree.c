// SPDX-License-Identifier: Apache-2.0
// Random operations on names: files, directories, links, renames and attributes, each of which a model knows the outcome
// of. What is there at the end is compared with the model; manifest.c has it compared with the other side.
#include "files.h"

#include <dirent.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

enum { kNames = 12, kDirectories = 6, kEntries = kNames * kDirectories, kMostBytes = 9000 };

// What a name stands for. Hard links share one.
struct Inode {
  enum { kFile, kSymlink } kind;
  unsigned links;
  mode_t mode;
  size_t size;
  uint8_t first;  // every byte is this plus its offset
  char attribute[16];
  unsigned target;  // of a symbolic link
};

static struct Inode* entries[kEntries];
static char directories[kDirectories];  // whether it is there; the first always is
static uint64_t state;

static int directory_of(unsigned entry) { return (int)(entry / kNames); }

static const char* path_of(unsigned entry) {
  static char paths[4][64];
  static unsigned next;
  char* const path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "d%d/f%u", directory_of(entry), entry % kNames);
  return path;
}

static const char* directory_path(int directory) {
  static char path[16];
  snprintf(path, sizeof path, "d%d", directory);
  return path;
}

static int usable(unsigned entry) { return directories[directory_of(entry)]; }

static void let_go(unsigned entry) {
  struct Inode* const inode = entries[entry];
  entries[entry] = NULL;
  if (inode && --inode->links == 0) free(inode);
}

static struct Inode* new_inode(int kind) {
  struct Inode* const inode = calloc(1, sizeof *inode);
  inode->kind = (typeof(inode->kind))kind;
  inode->links = 1;
  return inode;
}

static void create(unsigned entry) {
  const mode_t mode = 0400 | (mode_t)random_below(&state, 0400);
  if (!usable(entry)) {
    FAILS(open(path_of(entry), O_CREAT | O_EXCL | O_WRONLY, 0600), ENOENT);
    return;
  }
  if (entries[entry]) {
    FAILS(open(path_of(entry), O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
    return;
  }
  const int fd = (int)OK(open(path_of(entry), O_CREAT | O_EXCL | O_WRONLY, mode));
  struct Inode* const inode = entries[entry] = new_inode(kFile);
  inode->mode = mode & ~022u;
  inode->size = random_below(&state, kMostBytes);
  inode->first = (uint8_t)random_next(&state);
  uint8_t bytes[kMostBytes];
  for (size_t i = 0; i < inode->size; ++i) bytes[i] = (uint8_t)(inode->first + i);
  IS(write(fd, bytes, inode->size), inode->size);
  OK(close(fd));
}

static void remove_name(unsigned entry) {
  if (!usable(entry) || !entries[entry]) {
    FAILS(unlink(path_of(entry)), ENOENT);
    return;
  }
  OK(unlink(path_of(entry)));
  let_go(entry);
}

static void make_link(unsigned from, unsigned to) {
  if (!usable(from) || !entries[from] || !usable(to)) {
    FAILS(link(path_of(from), path_of(to)), ENOENT);
  } else if (entries[to]) {
    FAILS(link(path_of(from), path_of(to)), EEXIST);
  } else {
    OK(link(path_of(from), path_of(to)));
    entries[to] = entries[from];
    ++entries[to]->links;
  }
}

static void make_symlink(unsigned target, unsigned entry) {
  if (!usable(entry) || entries[entry]) return;
  char text[64];
  snprintf(text, sizeof text, "../%s", path_of(target));
  OK(symlink(text, path_of(entry)));
  entries[entry] = new_inode(kSymlink);
  entries[entry]->target = target;
}

static void move(unsigned from, unsigned to, unsigned flags) {
  errno = 0;
  const int done = (int)syscall(SYS_renameat2, AT_FDCWD, path_of(from), AT_FDCWD, path_of(to), flags);
  const int error = done < 0 ? errno : 0;
  if (error == EINVAL && flags != 0) return;  // a file system that has no such flag
  int expected = 0;
  if (!usable(from) || !entries[from] || !usable(to)) expected = ENOENT;
  else if (flags == RENAME_NOREPLACE && entries[to]) expected = EEXIST;
  else if (flags == RENAME_EXCHANGE && !entries[to]) expected = ENOENT;
  if (error != expected)
    complain(__FILE__, __LINE__, "rename %s %s %u: %s, not %s", path_of(from), path_of(to), flags, strerror(error), strerror(expected));
  if (expected != 0) return;
  if (entries[from] == entries[to]) return;  // the same file: nothing is done
  if (flags == RENAME_EXCHANGE) {
    struct Inode* const other = entries[to];
    entries[to] = entries[from];
    entries[from] = other;
    return;
  }
  let_go(to);
  entries[to] = entries[from];
  entries[from] = NULL;
}

static void set_attributes(unsigned entry) {
  struct Inode* const inode = usable(entry) ? entries[entry] : NULL;
  if (!inode || inode->kind != kFile) return;
  switch (random_below(&state, 3)) {
    case 0:
      inode->mode = 0400 | (mode_t)random_below(&state, 0400);
      OK(chmod(path_of(entry), inode->mode));
      break;
    case 1:
      snprintf(inode->attribute, sizeof inode->attribute, "v%u", (unsigned)random_below(&state, 1000));
      if (setxattr(path_of(entry), "user.test", inode->attribute, strlen(inode->attribute), 0) < 0) {
        if (errno != EOPNOTSUPP) complain(__FILE__, __LINE__, "setxattr: %s", strerror(errno));
        inode->attribute[0] = 0;
      }
      break;
    case 2:
      inode->size = random_below(&state, inode->size + 1);
      OK(truncate(path_of(entry), (off_t)inode->size));
      break;
  }
}

static void change_directory(int directory) {
  if (directory == 0) return;
  int is_empty = 1;
  for (unsigned i = 0; i < kNames; ++i) is_empty &= !entries[directory * kNames + (int)i];
  if (!directories[directory]) {
    OK(mkdir(directory_path(directory), 0755));
    directories[directory] = 1;
  } else if (is_empty) {
    OK(rmdir(directory_path(directory)));
    directories[directory] = 0;
  } else {
    FAILS(rmdir(directory_path(directory)), ENOTEMPTY);
    FAILS(mkdir(directory_path(directory), 0755), EEXIST);
  }
}

static void check_file(unsigned entry, const struct Inode* inode, const struct stat* status) {
  IS(status->st_mode, S_IFREG | inode->mode);
  IS(status->st_size, inode->size);
  uint8_t bytes[kMostBytes];
  const int fd = (int)OK(open(path_of(entry), O_RDONLY));
  IS(read(fd, bytes, sizeof bytes), inode->size);
  close(fd);
  for (size_t i = 0; i < inode->size; ++i) {
    if (bytes[i] == (uint8_t)(inode->first + i)) continue;
    complain(__FILE__, __LINE__, "%s: byte %zu is %02x", path_of(entry), i, bytes[i]);
    break;
  }
  char value[32] = "";
  const ssize_t got = getxattr(path_of(entry), "user.test", value, sizeof value - 1);
  if (inode->attribute[0]) IS(got, strlen(inode->attribute));
  TRUE(strcmp(value, inode->attribute) == 0);
}

static void check_entry(unsigned entry) {
  struct stat status;
  const struct Inode* const inode = entries[entry];
  if (!usable(entry) || !inode) {
    FAILS(lstat(path_of(entry), &status), ENOENT);
    return;
  }
  OK(lstat(path_of(entry), &status));
  IS(status.st_nlink, inode->links);
  if (inode->kind == kFile) {
    check_file(entry, inode, &status);
    return;
  }
  char expected[64], target[64] = "";
  snprintf(expected, sizeof expected, "../%s", path_of(inode->target));
  OK(readlink(path_of(entry), target, sizeof target - 1));
  TRUE(strcmp(target, expected) == 0);
}

// A directory lists just what is in it.
static void check_listing(int directory) {
  if (!directories[directory]) return;
  int expected = 0, found = 0;
  for (unsigned i = 0; i < kNames; ++i) expected += entries[directory * kNames + (int)i] != NULL;
  DIR* const stream = opendir(directory_path(directory));
  TRUE(stream != NULL);
  if (!stream) return;
  for (struct dirent* entry; (entry = readdir(stream));) found += entry->d_name[0] == 'f';
  closedir(stream);
  IS(found, expected);
}

void test_random_tree(uint64_t seed, long operations) {
  state = seed;
  OK(mkdir("d0", 0755));
  directories[0] = 1;
  for (long i = 0; i < operations && failures < 10; ++i) {
    const unsigned one = (unsigned)random_below(&state, kEntries), other = (unsigned)random_below(&state, kEntries);
    switch (random_below(&state, 12)) {
      case 0: case 1: case 2: create(one); break;
      case 3: remove_name(one); break;
      case 4: make_link(one, other); break;
      case 5: make_symlink(other, one); break;
      case 6: move(one, other, 0); break;
      case 7: move(one, other, RENAME_NOREPLACE); break;
      case 8: move(one, other, RENAME_EXCHANGE); break;
      case 9: set_attributes(one); break;
      case 10: change_directory((int)random_below(&state, kDirectories)); break;
      case 11: check_entry(one); check_listing(directory_of(other)); break;
    }
  }
  for (unsigned i = 0; i < kEntries; ++i) check_entry(i);
  for (int i = 0; i < kDirectories; ++i) check_listing(i);
}
