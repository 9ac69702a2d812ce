// SPDX-License-Identifier: Apache-2.0
// What takes a guest and its host, or two guests, at one time: locks, and a directory that is swapped for a symlink
// while it is used. They wait for each other by files that appear.
#include "files.h"

#include <sys/file.h>

static void wait_for(const char* file) {
  while (access(file, F_OK) < 0) usleep(20000);
}
static void appear(const char* file) { OK(close((int)OK(open(file, O_CREAT | O_WRONLY, 0644)))); }

// Waits for a lock of the whole file, or gives it back.
static void lock_file(int kind, int fd, int take) {
  struct flock lock = {.l_type = take ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};
  if (kind == 'p') OK(fcntl(fd, F_SETLKW, &lock));
  else OK(flock(fd, take ? LOCK_EX : LOCK_UN));
}

// Waits for a lock of the whole file, says so by `held`, and has it until `enough`.
void hold_lock(int kind, const char* file, const char* held, const char* enough) {
  const int fd = (int)OK(open(file, O_RDWR));
  lock_file(kind, fd, 1);
  appear(held);
  wait_for(enough);
}

// Who has a lock that this process would have to wait for. -1: an open file and no process.
void print_lock(int kind, const char* file) {
  const int fd = (int)OK(open(file, O_RDWR));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (kind == 'f') {
    puts(flock(fd, LOCK_EX | LOCK_NB) == 0 ? "nobody" : errno == EWOULDBLOCK ? "somebody" : strerror(errno));
    return;
  }
  OK(fcntl(fd, F_GETLK, &lock));
  if (lock.l_type == F_UNLCK) puts("nobody");
  else printf("%s %d\n", lock.l_type == F_WRLCK ? "writer" : "reader", (int)lock.l_pid);
}

// The two names change places until `enough`; then they are where they were.
void swap_names(const char* one, const char* other, const char* enough) {
  long swaps = 0;
  for (; swaps % 2 != 0 || access(enough, F_OK) < 0; ++swaps) {
    OK(renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE));
    usleep(100);  // the guest may have the same processor
  }
  fprintf(stderr, "%ld swaps\n", swaps);
}

// Reads a file so many times that has this one line, or cannot be opened just now.
void read_swapped(const char* file, const char* expected, long times) {
  long whole = 0, absent = 0;
  for (long i = 0; i < times; ++i) {
    const int fd = open(file, O_RDONLY);
    if (fd < 0) {
      ++absent;
      continue;
    }
    char line[64] = {0};
    const ssize_t bytes = read(fd, line, sizeof line - 1);
    close(fd);
    if (bytes > 0 && strncmp(line, expected, strlen(expected)) == 0) ++whole;
    else if (bytes >= 0) complain(__FILE__, __LINE__, "%s is not what is in the share", line);
  }
  printf("read %s, absent %s\n", whole > 0 ? "often" : "never", absent > 0 ? "often" : "never");
  fprintf(stderr, "%ld read, %ld absent\n", whole, absent);
}

// Appends so many lines, each by one write, to a file to which others append, too.
void append_lines(const char* file, const char* tag, long lines) {
  const int fd = (int)OK(open(file, O_WRONLY | O_APPEND));
  for (long i = 1; i <= lines; ++i) {
    char line[64];
    const int bytes = snprintf(line, sizeof line, "%s %ld\n", tag, i);
    IS(write(fd, line, (size_t)bytes), bytes);
  }
  OK(close(fd));
}

// Adds one to the number in a file, so many times. Others do it, too: only who has the lock of the other file may.
void count_turns(int kind, const char* lock, const char* file, long turns) {
  enum { kDigits = 8 };
  const int lock_fd = (int)OK(open(lock, O_RDWR | O_CREAT, 0644));
  for (long i = 0; i < turns && failures < 10; ++i) {
    lock_file(kind, lock_fd, 1);
    char number[24] = "";
    const int fd = (int)OK(open(file, O_RDWR));
    IS(pread(fd, number, kDigits, 0), kDigits);
    snprintf(number, sizeof number, "%0*ld", kDigits, strtol(number, NULL, 10) + 1);
    IS(pwrite(fd, number, kDigits, 0), kDigits);
    OK(close(fd));
    lock_file(kind, lock_fd, 0);
  }
}
