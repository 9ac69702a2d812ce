// SPDX-License-Identifier: Apache-2.0
// What POSIX.1-2017 and Linux's manual pages promise of what a file has beside its content: times, mode, owner and
// extended attributes. As root it also tries what another user may not do.
#include "posix.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

static int is_near(struct timespec one, struct timespec other) {
  return llabs((long long)one.tv_sec - other.tv_sec) <= 5;
}

void test_times(void) {
  make_file("file", "x");
  const struct timespec times[] = {{.tv_sec = 1000000000, .tv_nsec = 123456789}, {.tv_sec = 1500000000, .tv_nsec = 987654321}};
  OK(utimensat(AT_FDCWD, "file", times, 0));
  struct stat status = status_of("file");
  IS(status.st_atim.tv_sec, 1000000000);
  IS(status.st_atim.tv_nsec, 123456789);
  IS(status.st_mtim.tv_sec, 1500000000);
  IS(status.st_mtim.tv_nsec, 987654321);
  const struct timespec one_only[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1600000000}};
  OK(utimensat(AT_FDCWD, "file", one_only, 0));
  status = status_of("file");
  IS(status.st_atim.tv_sec, 1000000000);
  IS(status.st_mtim.tv_sec, 1600000000);
  const struct timespec before_epoch[] = {{.tv_sec = -5}, {.tv_sec = -10}};
  OK(utimensat(AT_FDCWD, "file", before_epoch, 0));
  IS(status_of("file").st_mtim.tv_sec, -10);
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  OK(utimensat(AT_FDCWD, "file", NULL, 0));
  TRUE(is_near(status_of("file").st_mtim, now));
  // A write, a truncation and a new name change the times that they should.
  OK(utimensat(AT_FDCWD, "file", times, 0));
  const int fd = (int)OK(open("file", O_WRONLY));
  IS(write(fd, "y", 1), 1);
  OK(close(fd));
  TRUE(is_near(status_of("file").st_mtim, now));
  OK(utimensat(AT_FDCWD, ".", times, 0));
  make_file("another", "");
  TRUE(is_near(status_of(".").st_mtim, now));
  OK(symlink("file", "link"));
  OK(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW));
  IS(status_of("link").st_mtim.tv_sec, 1500000000);
  FAILS(utimensat(AT_FDCWD, "missing", times, 0), ENOENT);
}

void test_modes(void) {
  make_file("file", "x");
  OK(chmod("file", 07751));
  IS(status_of("file").st_mode & 07777, 07751);
  umask(027);
  OK(close((int)OK(open("masked", O_CREAT | O_WRONLY, 0777))));
  OK(mkdir("masked-directory", 0777));
  umask(022);
  IS(status_of("masked").st_mode & 07777, 0750);
  IS(status_of("masked-directory").st_mode & 07777, 0750);
  FAILS(chmod("missing", 0644), ENOENT);
  const int fd = (int)OK(open("read-only", O_CREAT | O_RDWR, 0444));  // may be written by who made it
  IS(write(fd, "x", 1), 1);
  OK(close(fd));
}

// Runs `test` as another user, and counts its failures as ours.
static void as_other_user(void (*test)(void)) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    failures = 0;
    if (setgid(1000) < 0 || setuid(1000) < 0) _exit(99);
    test();
    fflush(stdout);
    _exit(failures);
  }
  int status = 0;
  waitpid(child, &status, 0);
  IS(WIFEXITED(status), 1);
  failures += WEXITSTATUS(status);
}

static void other_user(void) {
  FAILS(open("private", O_RDONLY), EACCES);
  FAILS(open("closed/file", O_RDONLY), EACCES);
  FAILS(open("readable", O_WRONLY), EACCES);
  FAILS(chmod("readable", 0777), EPERM);
  FAILS(chown("readable", 1000, 1000), EPERM);
  FAILS(unlink("readable"), EACCES);
  FAILS(open("new", O_CREAT | O_WRONLY, 0644), EACCES);
  FAILS(utimensat(AT_FDCWD, "readable", (struct timespec[]){{.tv_sec = 1}, {.tv_sec = 1}}, 0), EPERM);
  FAILS(unlink("sticky/file"), EPERM);
  FAILS(rename("sticky/file", "sticky/mine"), EPERM);
  OK(close((int)OK(open("sticky/own", O_CREAT | O_WRONLY, 0644))));
  IS(status_of("sticky/own").st_uid, 1000);
  IS(status_of("sticky/own").st_gid, 1000);
  OK(unlink("sticky/own"));
  // A directory of a group that this user is not in gives its group, and takes the set-group-ID bit.
  OK(close((int)OK(open("group/file", O_CREAT | O_WRONLY, 02775))));
  IS(status_of("group/file").st_gid, 77);
  IS(status_of("group/file").st_mode & S_ISGID, 0);
  OK(mkdir("group/directory", 0755));
  IS(status_of("group/directory").st_mode & S_ISGID, S_ISGID);
  // Writing takes set-user-ID and set-group-ID away.
  const int fd = (int)OK(open("suid", O_WRONLY));
  IS(write(fd, "x", 1), 1);
  OK(close(fd));
  IS(status_of("suid").st_mode & 07777, 0777);
}

void test_permissions(void) {
  if (geteuid() != 0) return;
  OK(chmod(".", 0755));
  make_file("private", "x");
  OK(chmod("private", 0600));
  make_file("readable", "x");
  OK(mkdir("closed", 0700));
  make_file("closed/file", "x");
  OK(mkdir("sticky", 0777));
  OK(chmod("sticky", 01777));
  make_file("sticky/file", "x");
  OK(mkdir("group", 0777));
  OK(chown("group", 0, 77));
  OK(chmod("group", 02777));
  make_file("suid", "x");
  OK(chmod("suid", 06777));
  as_other_user(other_user);
  OK(chown("readable", 12, 34));
  IS(status_of("readable").st_uid, 12);
  IS(status_of("readable").st_gid, 34);
  OK(chown("readable", (uid_t)-1, 35));
  IS(status_of("readable").st_uid, 12);
  OK(chmod("readable", 06755));
  OK(chown("readable", 1, 1));
  IS(status_of("readable").st_mode & 07777, 0755);
}

void test_xattrs(void) {
  make_file("file", "x");
  char value[64] = "", list[256];
  if (setxattr("file", "user.one", "1", 1, 0) < 0) {
    IS(errno, EOPNOTSUPP);
    return;
  }
  OK(setxattr("file", "user.two", "22", 2, XATTR_CREATE));
  FAILS(setxattr("file", "user.two", "33", 2, XATTR_CREATE), EEXIST);
  OK(setxattr("file", "user.two", "333", 3, XATTR_REPLACE));
  FAILS(setxattr("file", "user.none", "x", 1, XATTR_REPLACE), ENODATA);
  IS(getxattr("file", "user.two", value, sizeof value), 3);
  TRUE(memcmp(value, "333", 3) == 0);
  IS(getxattr("file", "user.two", NULL, 0), 3);
  FAILS(getxattr("file", "user.two", value, 2), ERANGE);
  FAILS(getxattr("file", "user.none", value, 2), ENODATA);
  OK(setxattr("file", "user.empty", "", 0, 0));
  IS(getxattr("file", "user.empty", value, sizeof value), 0);
  const ssize_t listed = OK(listxattr("file", list, sizeof list));
  TRUE(memmem(list, (size_t)listed, "user.one", 9) && memmem(list, (size_t)listed, "user.empty", 11));
  FAILS(listxattr("file", list, 3), ERANGE);
  OK(removexattr("file", "user.one"));
  FAILS(removexattr("file", "user.one"), ENODATA);
  FAILS(setxattr("file", "nonsense", "x", 1, 0), EOPNOTSUPP);
}

static void reader_only(void) {
  OK(close((int)OK(open("directory/file", O_RDONLY))));
  FAILS(open("directory/file", O_WRONLY), EACCES);
}
static void writer(void) {
  OK(close((int)OK(open("directory/file", O_RDWR))));
  OK(close((int)OK(open("directory/below/mine", O_CREAT | O_EXCL | O_WRONLY, 0666))));
}

// acl(5): a directory's default list takes umask's place for what is made in it, and is that of directories below. User 1000 is named in
// it; who is not has nothing.
void test_access_lists(void) {
  const struct {
    struct posix_acl_xattr_header header;
    struct posix_acl_xattr_entry entries[5];
  } list = {{POSIX_ACL_XATTR_VERSION},
            {{ACL_USER_OBJ, 7, (uint32_t)ACL_UNDEFINED_ID}, {ACL_USER, 7, 1000}, {ACL_GROUP_OBJ, 5, (uint32_t)ACL_UNDEFINED_ID},
             {ACL_MASK, 7, (uint32_t)ACL_UNDEFINED_ID}, {ACL_OTHER, 0, (uint32_t)ACL_UNDEFINED_ID}}};
  char value[256];
  OK(mkdir("directory", 0755));
  if (setxattr("directory", "system.posix_acl_default", &list, sizeof list, 0) < 0) {
    IS(errno, EOPNOTSUPP);
    return;
  }
  IS(getxattr("directory", "system.posix_acl_default", value, sizeof value), sizeof list);
  TRUE(memcmp(value, &list, sizeof list) == 0);
  umask(077);
  OK(close((int)OK(open("directory/file", O_CREAT | O_EXCL | O_WRONLY, 0666))));
  OK(mkdir("directory/below", 0777));
  umask(022);
  IS(status_of("directory/file").st_mode & 07777, 0660);  // the group's bits are the mask's
  IS(status_of("directory/below").st_mode & 07777, 0770);
  IS(getxattr("directory/file", "system.posix_acl_access", value, sizeof value), sizeof list);
  FAILS(getxattr("directory/file", "system.posix_acl_default", value, sizeof value), ENODATA);
  IS(getxattr("directory/below", "system.posix_acl_default", value, sizeof value), sizeof list);
  if (geteuid() == 0) {
    as_other_user(writer);
    OK(chmod("directory/file", 0640));
    as_other_user(reader_only);
    IS(status_of("directory/below/mine").st_uid, 1000);
    IS(status_of("directory/below/mine").st_mode & 07777, 0660);
  }
  OK(removexattr("directory", "system.posix_acl_default"));
  OK(close((int)OK(open("directory/masked", O_CREAT | O_EXCL | O_WRONLY, 0666))));
  IS(status_of("directory/masked").st_mode & 07777, 0644);
  struct posix_acl_xattr_header broken = {77};
  FAILS(setxattr("directory", "system.posix_acl_access", &broken, sizeof broken, 0), EOPNOTSUPP);
}
