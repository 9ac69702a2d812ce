// SPDX-License-Identifier: Apache-2.0
// What POSIX.1-2017 and Linux's manual pages promise of files: one function for each subject.
#include "posix.h"

#include <dirent.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int rename_with(const char* from, const char* to, unsigned flags) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void test_open(void) {
  make_file("file", "content");
  OK(mkdir("directory", 0755));
  OK(symlink("file", "link"));
  OK(symlink("nowhere", "dangling"));
  OK(symlink("loop", "loop"));
  FAILS(open("missing", O_RDONLY), ENOENT);
  FAILS(open("missing/file", O_CREAT | O_WRONLY, 0644), ENOENT);
  FAILS(open("file/below", O_RDONLY), ENOTDIR);
  FAILS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
  FAILS(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
  FAILS(open("directory", O_WRONLY), EISDIR);
  FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
  FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
  FAILS(open("loop", O_RDONLY), ELOOP);
  OK(close((int)OK(open("dangling", O_CREAT | O_WRONLY, 0644))));  // makes what it points to
  IS(status_of("nowhere").st_size, 0);
  OK(close((int)OK(open("link", O_WRONLY | O_TRUNC))));
  IS(status_of("file").st_size, 0);
  char byte;
  const int writable = (int)OK(open("file", O_WRONLY)), readable = (int)OK(open("file", O_RDONLY));
  FAILS(read(writable, &byte, 1), EBADF);
  FAILS(write(readable, &byte, 1), EBADF);
  FAILS(read((int)OK(open("directory", O_RDONLY)), &byte, 1), EISDIR);
}

static void test_names(void) {
  char name[300];
  memset(name, 'n', sizeof name);
  name[NAME_MAX] = 0;
  make_file(name, "x");
  OK(unlink(name));
  name[NAME_MAX] = 'n';
  name[NAME_MAX + 1] = 0;
  FAILS(open(name, O_CREAT | O_WRONLY, 0644), ENAMETOOLONG);
  FAILS(mkdir(name, 0755), ENAMETOOLONG);
  FAILS(symlink("x", name), ENAMETOOLONG);
  FAILS(lstat(name, &(struct stat){0}), ENAMETOOLONG);
  const char* const odd[] = {" ", "\n", "\\", "\xff\xfe", "...", "-rf", "\xc3\xa4\xe2\x82\xac", "a:b*?\"<>|"};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; ++i) {
    make_file(odd[i], odd[i]);
    content_is(odd[i], odd[i]);
    OK(unlink(odd[i]));
  }
  FAILS(rmdir("."), EINVAL);
  FAILS(mkdir(".", 0755), EEXIST);
  FAILS(open("", O_RDONLY), ENOENT);
}

static void test_write_and_size(void) {
  const int fd = (int)OK(open("file", O_RDWR | O_CREAT, 0644));
  IS(pwrite(fd, "end", 3, 10000), 3);
  struct stat status;
  OK(fstat(fd, &status));
  IS(status.st_size, 10003);
  char hole[16] = "xxxxxxxxxxxxxxx";
  IS(pread(fd, hole, 4, 5000), 4);
  TRUE(memcmp(hole, "\0\0\0\0", 4) == 0);
  IS(pread(fd, hole, 16, 10001), 2);
  IS(pread(fd, hole, 16, 10003), 0);
  OK(ftruncate(fd, 5));
  OK(ftruncate(fd, 20));
  IS(pread(fd, hole, 16, 0), 16);
  TRUE(memcmp(hole, "\0\0\0\0\0\0\0\0", 8) == 0);
  FAILS(ftruncate(fd, -1), EINVAL);
  FAILS(truncate("missing", 1), ENOENT);
  IS(lseek(fd, 0, SEEK_END), 20);
  FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
  FAILS(lseek(fd, 0, 99), EINVAL);
  IS(pwrite(fd, "x", 1, (off_t)1 << 33), 1);
  IS(status_of("file").st_size, ((off_t)1 << 33) + 1);
  OK(ftruncate(fd, 100));
  OK(close(fd));

  const int one = (int)OK(open("log", O_WRONLY | O_CREAT | O_APPEND, 0644)), two = (int)OK(open("log", O_WRONLY | O_APPEND));
  IS(write(one, "1", 1), 1);
  IS(write(two, "2", 1), 1);
  IS(write(one, "3", 1), 1);
  content_is("log", "123");
}

static void test_unlinked(void) {
  const int fd = (int)OK(open("file", O_RDWR | O_CREAT, 0600));
  IS(write(fd, "before", 6), 6);
  OK(unlink("file"));
  make_file("file", "another");
  IS(pwrite(fd, "after!", 6, 0), 6);
  char content[8] = "";
  IS(pread(fd, content, 6, 0), 6);
  TRUE(strcmp(content, "after!") == 0);
  struct stat status;
  OK(fstat(fd, &status));
  IS(status.st_nlink, 0);
  OK(ftruncate(fd, 2));
  OK(fchmod(fd, 0640));
  OK(fstat(fd, &status));
  IS(status.st_size, 2);
  IS(status.st_mode & 07777, 0640);
  content_is("file", "another");
  OK(close(fd));

  OK(mkdir("directory", 0755));
  const int directory = (int)OK(open("directory", O_RDONLY));
  OK(rmdir("directory"));
  FAILS(openat(directory, "x", O_CREAT | O_WRONLY, 0644), ENOENT);
  OK(close(directory));

  const int nameless = open(".", O_TMPFILE | O_RDWR, 0600);
  if (nameless < 0) {
    IS(errno, EOPNOTSUPP);
    return;
  }
  IS(write(nameless, "temporary", 9), 9);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", nameless);
  OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  content_is("named", "temporary");
}

static void test_links(void) {
  make_file("file", "content");
  OK(link("file", "second"));
  IS(status_of("file").st_nlink, 2);
  IS(status_of("second").st_ino, status_of("file").st_ino);
  OK(unlink("file"));
  IS(status_of("second").st_nlink, 1);
  content_is("second", "content");
  OK(mkdir("directory", 0755));
  FAILS(link("directory", "third"), EPERM);
  FAILS(link("missing", "third"), ENOENT);
  FAILS(link("second", "directory"), EEXIST);
  FAILS(unlink("directory"), EISDIR);
  FAILS(unlink("missing"), ENOENT);
  FAILS(rmdir("second"), ENOTDIR);

  char target[PATH_MAX], read_back[PATH_MAX + 1] = "";
  memset(target, 't', sizeof target);
  target[4095 - 1] = 0;
  OK(symlink(target, "long"));
  IS(readlink("long", read_back, sizeof read_back), 4094);
  TRUE(memcmp(target, read_back, 4094) == 0);
  IS(status_of("long").st_size, 4094);
  TRUE(S_ISLNK(status_of("long").st_mode));
  FAILS(readlink("second", read_back, 10), EINVAL);
  OK(symlink("second", "short"));
  IS(readlink("short", read_back, 3), 3);
  OK(link("short", "short2"));  // of the symbolic link itself
  TRUE(S_ISLNK(status_of("short2").st_mode));
}

static void test_rename(void) {
  make_file("a", "a");
  make_file("b", "b");
  OK(rename("a", "b"));
  content_is("b", "a");
  FAILS(rename("a", "c"), ENOENT);
  OK(rename("b", "b"));
  OK(mkdir("d1", 0755));
  OK(mkdir("d2", 0755));
  OK(mkdir("d1/below", 0755));
  FAILS(rename("d1", "d1/below/x"), EINVAL);
  FAILS(rename("d1", "b"), ENOTDIR);
  FAILS(rename("b", "d1"), EISDIR);
  FAILS(rename("d2", "d1"), ENOTEMPTY);
  OK(rename("d1/below", "d2"));
  TRUE(access("d1/below", F_OK) < 0);
  IS(status_of("d1").st_nlink, 2);
  make_file("c", "c");
  FAILS(rename_with("b", "c", RENAME_NOREPLACE), EEXIST);
  OK(rename_with("b", "d", RENAME_NOREPLACE));
  OK(rename_with("c", "d", RENAME_EXCHANGE));
  content_is("c", "a");
  content_is("d", "c");
  FAILS(rename_with("c", "missing", RENAME_EXCHANGE), ENOENT);
  FAILS(rename_with("c", "d", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
  // An open file goes on under its new name.
  const int fd = (int)OK(open("c", O_RDWR));
  OK(rename("c", "moved"));
  IS(write(fd, "x", 1), 1);
  content_is("moved", "x");
  OK(close(fd));
}

static void test_directories(void) {
  enum { kCount = 3000 };
  OK(mkdir("many", 0755));
  IS(status_of("many").st_nlink, 2);
  OK(mkdir("many/below", 0755));
  IS(status_of("many").st_nlink, 3);
  FAILS(rmdir("many"), ENOTEMPTY);
  OK(rmdir("many/below"));
  char name[NAME_MAX + 16];
  for (int i = 0; i < kCount; ++i) {
    snprintf(name, sizeof name, "many/a-name-of-some-length-%d", i);
    OK(close((int)OK(open(name, O_CREAT | O_WRONLY, 0644))));
  }
  // Each once, and the types and inode numbers those of stat; seeking goes back to where it was told.
  DIR* const stream = opendir("many");
  static char seen[kCount];
  int found = 0;
  long place = 0;
  char after[NAME_MAX + 1] = "";
  for (struct dirent* entry; (entry = readdir(stream));) {
    if (place != 0 && after[0] == 0) snprintf(after, sizeof after, "%s", entry->d_name);
    int number;
    if (sscanf(entry->d_name, "a-name-of-some-length-%d", &number) != 1) continue;
    IS(seen[number]++, 0);
    ++found;
    IS(entry->d_type, DT_REG);
    if (number % 500 == 0) {
      snprintf(name, sizeof name, "many/%s", entry->d_name);
      IS(entry->d_ino, status_of(name).st_ino);
    }
    if (found == kCount / 2) place = telldir(stream);
  }
  IS(found, kCount);
  seekdir(stream, place);
  TRUE(strcmp(readdir(stream)->d_name, after) == 0);
  // What is removed while it is read does not come again from the start.
  rewinddir(stream);
  readdir(stream);
  for (int i = 0; i < kCount; ++i) {
    snprintf(name, sizeof name, "many/a-name-of-some-length-%d", i);
    OK(unlink(name));
  }
  rewinddir(stream);
  found = 0;
  while (readdir(stream)) ++found;
  IS(found, 2);
  closedir(stream);
  OK(rmdir("many"));
}

static short lock_seen_by_other(off_t start, off_t length) {
  int pipes[2];
  OK(pipe(pipes));
  const pid_t child = fork();
  if (child == 0) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    const int fd = open("file", O_RDWR);
    const int asked = fcntl(fd, F_GETLK, &lock);
    const short type = asked < 0 ? -1 : lock.l_type;
    _exit(write(pipes[1], &type, sizeof type) < 0);
  }
  short type = -1;
  OK(read(pipes[0], &type, sizeof type));
  waitpid(child, NULL, 0);
  close(pipes[0]);
  close(pipes[1]);
  return type;
}

static void test_locks(void) {
  make_file("file", "0123456789");
  const int fd = (int)OK(open("file", O_RDWR));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3};
  OK(fcntl(fd, F_SETLK, &lock));
  IS(lock_seen_by_other(0, 2), F_UNLCK);
  IS(lock_seen_by_other(4, 1), F_WRLCK);
  IS(lock_seen_by_other(5, 0), F_UNLCK);
  lock.l_type = F_RDLCK;
  lock.l_start = 8;
  lock.l_len = 0;
  OK(fcntl(fd, F_SETLK, &lock));
  IS(lock_seen_by_other(100, 1), F_RDLCK);
  lock = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET};
  OK(fcntl(fd, F_SETLK, &lock));
  IS(lock_seen_by_other(0, 0), F_UNLCK);

  const int other = (int)OK(open("file", O_RDWR));
  OK(flock(fd, LOCK_EX));
  FAILS(flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
  OK(flock(fd, LOCK_SH));
  OK(flock(other, LOCK_SH | LOCK_NB));
  OK(close(fd));
  OK(flock(other, LOCK_EX | LOCK_NB));
  OK(close(other));
}

static void test_mapping(void) {
  const int fd = (int)OK(open("file", O_RDWR | O_CREAT, 0644));
  OK(ftruncate(fd, 3 * 4096));
  char* const map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  TRUE(map != MAP_FAILED);
  if (map == MAP_FAILED) return;
  memcpy(map + 4090, "across pages", 12);
  char content[16] = "";
  IS(pread(fd, content, 12, 4090), 12);
  TRUE(strcmp(content, "across pages") == 0);
  IS(pwrite(fd, "written", 7, 8192), 7);
  TRUE(memcmp(map + 8192, "written", 7) == 0);
  OK(msync(map, 3 * 4096, MS_SYNC));
  munmap(map, 3 * 4096);
  char* const own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 8192);
  own[0] = 'X';
  munmap(own, 4096);
  IS(pread(fd, content, 1, 8192), 1);
  IS(content[0], 'w');
  OK(close(fd));
}

static void test_space(void) {
  const int fd = (int)OK(open("file", O_RDWR | O_CREAT, 0644));
  if (fallocate(fd, 0, 0, 1 << 20) == 0) {
    IS(status_of("file").st_size, 1 << 20);
    TRUE(status_of("file").st_blocks >= (1 << 20) / 512);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 19) == 0)
      TRUE(status_of("file").st_blocks <= (1 << 20) / 512 / 2 + 64);
  }
  FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);  // without KEEP_SIZE
  FAILS(fallocate(fd, 0, 0, 0), EINVAL);
  OK(ftruncate(fd, 0));
  OK(ftruncate(fd, 1 << 20));
  IS(pwrite(fd, "x", 1, 1 << 19), 1);
  OK(fsync(fd));
  const off_t data = lseek(fd, 0, SEEK_DATA);
  if (data > 0) {  // else everything is data, which is allowed
    TRUE(data <= 1 << 19);
    TRUE(lseek(fd, 1 << 19, SEEK_HOLE) > 1 << 19);
  }
  FAILS(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
  struct statvfs space;
  OK(statvfs(".", &space));
  TRUE(space.f_blocks > 0 && space.f_bfree <= space.f_blocks && space.f_namemax == NAME_MAX);
  OK(close(fd));
  OK(mknod("pipe", S_IFIFO | 0644, 0));
  TRUE(S_ISFIFO(status_of("pipe").st_mode));
  FAILS(open("pipe", O_WRONLY | O_NONBLOCK), ENXIO);
}

// Each in a directory of its own, which it need not clean up.
void test_posix(void) {
  static const struct { const char* name; void (*run)(void); } tests[] = {
      {"open", test_open},           {"names", test_names},       {"write-and-size", test_write_and_size},
      {"unlinked", test_unlinked},   {"links", test_links},       {"rename", test_rename},
      {"directories", test_directories}, {"times", test_times},   {"modes", test_modes},
      {"permissions", test_permissions}, {"xattrs", test_xattrs}, {"access-lists", test_access_lists},
      {"locks", test_locks},         {"mapping", test_mapping},   {"space", test_space},
  };
  for (size_t i = 0; i < sizeof tests / sizeof *tests; ++i) {
    OK(mkdir(tests[i].name, 0755));
    OK(chdir(tests[i].name));
    const int before = failures;
    tests[i].run();
    printf("%s %s\n", failures == before ? "ok:" : "not ok:", tests[i].name);
    OK(chdir(".."));
  }
}
