// SPDX-License-Identifier: Apache-2.0
// Random operations on one file, each of which a copy of it in memory knows the outcome of.
#include "files.h"

#include <sys/uio.h>

enum { kMost = 256 << 10 };  // bytes of the file

struct Model {
  uint8_t bytes[kMost];
  size_t size;
};

static struct Model model;
static uint8_t buffer[kMost];
static uint64_t state;
static int fd;

static void fill(size_t bytes) {
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t value = random_next(&state);
    memcpy(buffer + i, &value, 8);
  }
}

// The model has these bytes at `offset` from now on.
static void put(size_t offset, const uint8_t* bytes, size_t count) {
  if (offset > model.size) memset(model.bytes + model.size, 0, offset - model.size);
  memcpy(model.bytes + offset, bytes, count);
  if (offset + count > model.size) model.size = offset + count;
}

static void clear(size_t offset, size_t count) {
  if (offset >= model.size) return;
  if (count > model.size - offset) count = model.size - offset;
  memset(model.bytes + offset, 0, count);
}

static void resize(size_t size) {
  if (size > model.size) memset(model.bytes + model.size, 0, size - model.size);
  model.size = size;
}

static void compare(const uint8_t* bytes, size_t offset, size_t count, const char* how) {
  if (memcmp(bytes, model.bytes + offset, count) == 0) return;
  size_t i = 0;
  while (bytes[i] == model.bytes[offset + i]) ++i;
  complain(__FILE__, __LINE__, "%s: byte %zu is %02x, not %02x", how, offset + i, bytes[i], model.bytes[offset + i]);
}

static void check_read(size_t offset, size_t count) {
  const ssize_t got = OK(pread(fd, buffer, count, (off_t)offset));
  const size_t there = offset >= model.size ? 0 : model.size - offset;
  IS(got, there < count ? there : count);
  if (got > 0) compare(buffer, offset, (size_t)got, "pread");
}

static void do_write(size_t offset, size_t count) {
  fill(count);
  IS(pwrite(fd, buffer, count, (off_t)offset), count);
  put(offset, buffer, count);
}

static void do_append(size_t count) {
  if (model.size + count > kMost) return;
  const int appending = (int)OK(open("file", O_WRONLY | O_APPEND));
  fill(count);
  IS(write(appending, buffer, count), count);
  put(model.size, buffer, count);
  close(appending);
}

static void do_map(size_t offset, size_t count, int is_write) {
  if (offset + count > model.size) return;
  const size_t start = offset & ~(size_t)4095;
  uint8_t* const map = mmap(NULL, offset - start + count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
  if (map == MAP_FAILED) {
    complain(__FILE__, __LINE__, "mmap: %s", strerror(errno));
    return;
  }
  uint8_t* const at = map + (offset - start);
  if (is_write) {
    fill(count);
    memcpy(at, buffer, count);
    put(offset, buffer, count);
    if (random_below(&state, 2)) OK(msync(map, offset - start + count, MS_SYNC));
  } else {
    compare(at, offset, count, "mmap");
  }
  munmap(map, offset - start + count);
}

static void do_punch(int mode, size_t offset, size_t count) {
  if (count == 0) return;
  if (fallocate(fd, mode, (off_t)offset, (off_t)count) < 0) {
    if (errno != EOPNOTSUPP) complain(__FILE__, __LINE__, "fallocate %x: %s", (unsigned)mode, strerror(errno));
    return;
  }
  if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + count > model.size) resize(offset + count);
  if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) clear(offset, count);
}

static void do_copy(size_t from, size_t to, size_t count) {
  if (from + count > model.size || to + count > kMost) return;
  if (from < to + count && to < from + count) return;  // an overlap is an error
  off_t source = (off_t)from, target = (off_t)to;
  const ssize_t copied = copy_file_range(fd, &source, fd, &target, count, 0);
  if (copied < 0) {
    if (errno != EOPNOTSUPP && errno != EXDEV) complain(__FILE__, __LINE__, "copy_file_range: %s", strerror(errno));
    return;
  }
  memcpy(buffer, model.bytes + from, (size_t)copied);
  put(to, buffer, (size_t)copied);
}

static void do_vector(size_t offset, size_t count) {
  fill(count);
  struct iovec parts[3] = {{buffer, count / 3}, {buffer + count / 3, 1}, {buffer + count / 3 + 1, count - count / 3 - 1}};
  if (count < 3) return;
  IS(pwritev(fd, parts, 3, (off_t)offset), count);
  put(offset, buffer, count);
}

static void reopen(void) {
  close(fd);
  fd = (int)OK(open("file", O_RDWR));
}

static void check_all(void) {
  struct stat status;
  OK(fstat(fd, &status));
  IS(status.st_size, model.size);
  check_read(0, kMost);
}

void test_random_file(uint64_t seed, long operations) {
  state = seed;
  fd = (int)OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0644));
  for (long i = 0; i < operations && failures < 10; ++i) {
    const size_t offset = random_below(&state, kMost);
    const size_t room = kMost - offset;
    size_t count = random_below(&state, random_below(&state, 4) == 0 ? room : (room < 5000 ? room : 5000)) + 1;
    if (count > room) count = room;
    switch (random_below(&state, 16)) {
      case 0: case 1: case 2: do_write(offset, count); break;
      case 3: case 4: case 5: check_read(offset, count); break;
      case 6: do_append(count); break;
      case 7: do_map(offset, count, 0); break;
      case 8: do_map(offset, count, 1); break;
      case 9: OK(ftruncate(fd, (off_t)offset)); resize(offset); break;
      case 10: do_punch(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count); break;
      case 11: do_punch(FALLOC_FL_ZERO_RANGE, offset, count); break;
      case 12: do_punch(random_below(&state, 2) ? FALLOC_FL_KEEP_SIZE : 0, offset, count); break;
      case 13: do_copy(offset, random_below(&state, kMost), count); break;
      case 14: do_vector(offset, count); break;
      case 15:
        if (random_below(&state, 4) == 0) reopen();
        else OK(random_below(&state, 2) ? fsync(fd) : fdatasync(fd));
        break;
    }
    if (i % 64 == 63) check_all();
  }
  check_all();
  close(fd);
}
