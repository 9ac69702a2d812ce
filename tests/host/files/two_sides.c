// SPDX-License-Identifier: Apache-2.0
// What takes a guest and its host, or two guests, at one time: locks, and a directory that is swapped for a symlink
// while it is used. They wait for each other by files that appear.
#include "files.h"

#include <sys/file.h>

static void wait_for(const char* file) {
  while (access(file, F_OK) < 0) usleep(20000);
}
static void appear(const char* file) { OK(close((int)OK(open(file, O_CREAT | O_WRONLY, 0644)))); }

// Waits for a lock of the whole file, says so by `held`, and has it until `enough`.
void hold_lock(int kind, const char* file, const char* held, const char* enough) {
  const int fd = (int)OK(open(file, O_RDWR));
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (kind == 'p') OK(fcntl(fd, F_SETLKW, &lock));
  else OK(flock(fd, LOCK_EX));
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
