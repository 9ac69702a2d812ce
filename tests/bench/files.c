// SPDX-License-Identifier: Apache-2.0
// What a guest does with files in the fs benchmark. It starts fast and measures nothing: who started it does. See usage.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long check(long value, const char* what) {
  if (value >= 0) return value;
  perror(what);
  exit(1);
}

static uint64_t random_next(void) {  // xorshift64*
  static uint64_t state = 1;
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545F4914F6CDD1DULL;
}

// From the beginning to the end, through the page cache.
static void in_order(const char* file, int writes, long bytes, long chunk) {
  const int fd = (int)check(open(file, writes ? O_CREAT | O_WRONLY : O_RDONLY, 0644), file);
  char* const buffer = malloc((size_t)chunk);
  memset(buffer, 'x', (size_t)chunk);
  for (long at = 0; at < bytes; at += chunk)
    check(writes ? write(fd, buffer, (size_t)chunk) : read(fd, buffer, (size_t)chunk), file);
  if (writes) check(fsync(fd), "fsync");
}

// With O_DIRECT, `depth` at a time.
static void at_random(const char* file, int writes, long bytes, long chunk, long depth, long count) {
  const int fd = (int)check(open(file, (writes ? O_WRONLY : O_RDONLY) | O_DIRECT), file);
  aio_context_t context = 0;
  check(syscall(SYS_io_setup, depth, &context), "io_setup");
  struct iocb* const blocks = calloc((size_t)depth, sizeof *blocks);
  struct io_event* const events = calloc((size_t)depth, sizeof *events);
  char* const buffers = aligned_alloc(4096, (size_t)(chunk * depth));
  memset(buffers, 'y', (size_t)(chunk * depth));
  long submitted = 0, done = 0;
  long free_slots[1024], free_count = depth;
  for (long i = 0; i < depth; ++i) free_slots[i] = i;
  while (done < count) {
    struct iocb* batch[1024];
    long batch_size = 0;
    while (free_count > 0 && submitted < count) {
      const long slot = free_slots[--free_count];
      blocks[slot] = (struct iocb){.aio_data = (uint64_t)slot,
                                   .aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                                   .aio_fildes = (uint32_t)fd,
                                   .aio_buf = (uint64_t)(uintptr_t)(buffers + slot * chunk),
                                   .aio_nbytes = (uint64_t)chunk,
                                   .aio_offset = (int64_t)(random_next() % (uint64_t)(bytes / chunk)) * chunk};
      batch[batch_size++] = &blocks[slot];
      ++submitted;
    }
    for (long sent = 0; sent < batch_size;)
      sent += check(syscall(SYS_io_submit, context, batch_size - sent, batch + sent), "io_submit");
    const long ended = check(syscall(SYS_io_getevents, context, 1, depth, events, NULL), "io_getevents");
    for (long i = 0; i < ended; ++i) {
      if (events[i].res != chunk) {
        fprintf(stderr, "%s: %lld\n", file, (long long)events[i].res);
        exit(1);
      }
      free_slots[free_count++] = (long)events[i].data;
    }
    done += ended;
  }
}

static void each(const char* what, const char* directory, long count) {
  check(chdir(directory), directory);
  for (long i = 0; i < count; ++i) {
    char name[48];
    snprintf(name, sizeof name, "%ld/%ld", i / 100, i);
    if (strcmp(what, "stat") == 0) {
      struct stat status;
      check(stat(name, &status), name);
      continue;
    }
    if (i % 100 == 0) {
      char parent[32];
      snprintf(parent, sizeof parent, "%ld", i / 100);
      check(mkdir(parent, 0755), parent);
    }
    const int fd = (int)check(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644), name);
    check(write(fd, name, strlen(name)), name);
    close(fd);
  }
}

static int usage(void) {
  fputs("usage: files read|write FILE BYTES CHUNK\n"
        "       files random-read|random-write FILE BYTES CHUNK DEPTH COUNT\n"
        "       files create|stat DIRECTORY COUNT\n",
        stderr);
  return 64;
}

int main(int argc, char** argv) {
  long numbers[4] = {0};
  for (int i = 3; i < argc && i < 7; ++i) numbers[i - 3] = atol(argv[i]);
  if (argc == 4) {
    each(argv[1], argv[2], numbers[0]);
  } else if (argc == 5) {
    in_order(argv[2], strcmp(argv[1], "write") == 0, numbers[0], numbers[1]);
  } else if (argc == 7 && numbers[2] <= 1024) {
    at_random(argv[2], strcmp(argv[1], "random-write") == 0, numbers[0], numbers[1], numbers[2], numbers[3]);
  } else {
    return usage();
  }
  return 0;
}
