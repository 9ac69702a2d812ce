// SPDX-License-Identifier: Apache-2.0
// A line for each file under a directory: what a guest and its host must see alike.
#include "files.h"

#include <dirent.h>
#include <sys/xattr.h>

static uint64_t hash_bytes(uint64_t hash, const void* bytes, size_t count) {  // FNV-1a
  for (size_t i = 0; i < count; ++i) hash = (hash ^ ((const uint8_t*)bytes)[i]) * 0x100000001b3ULL;
  return hash;
}

static uint64_t hash_content(const char* path) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  char block[65536];
  const int fd = open(path, O_RDONLY | O_NOFOLLOW);
  if (fd < 0) return 0;
  for (ssize_t got; (got = read(fd, block, sizeof block)) > 0;) hash = hash_bytes(hash, block, (size_t)got);
  close(fd);
  return hash;
}

static void print_attribute(const char* path) {
  char value[256];
  const ssize_t bytes = lgetxattr(path, "user.test", value, sizeof value);
  if (bytes >= 0) printf(" user.test=%.*s", (int)bytes, value);
}

static void print_file(const char* path, const struct stat* status) {
  printf("%s %o", path, status->st_mode);
  if (!S_ISDIR(status->st_mode)) printf(" links %lu", (unsigned long)status->st_nlink);
  if (S_ISREG(status->st_mode)) printf(" size %lld hash %016llx", (long long)status->st_size, (unsigned long long)hash_content(path));
  if (S_ISLNK(status->st_mode)) {
    char target[PATH_MAX];
    const ssize_t bytes = readlink(path, target, sizeof target);
    printf(" -> %.*s", (int)(bytes < 0 ? 0 : bytes), target);
  } else {
    print_attribute(path);
  }
  putchar('\n');
}

static void walk(const char* path) {
  struct dirent** entries;
  const int count = scandir(path, &entries, NULL, alphasort);
  for (int i = 0; i < count; ++i) {
    const char* const name = entries[i]->d_name;
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
      char below[PATH_MAX];
      struct stat status;
      snprintf(below, sizeof below, "%s/%s", path, name);
      if (lstat(below, &status) == 0) {
        print_file(below, &status);
        if (S_ISDIR(status.st_mode)) walk(below);
      } else {
        printf("%s: %s\n", below, strerror(errno));
      }
    }
    free(entries[i]);
  }
  if (count >= 0) free(entries);
}

void print_manifest(const char* directory) {
  if (chdir(directory) == 0) walk(".");
}
