// SPDX-License-Identifier: Apache-2.0
// What the tests of posix.c, and those of its subjects that are elsewhere, have in common.
#pragma once

#include "files.h"

static inline void make_file(const char* path, const char* content) {
  const int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  IS(write(fd, content, strlen(content)), strlen(content));
  OK(close(fd));
}

static inline struct stat status_of(const char* path) {
  struct stat status;
  memset(&status, 0, sizeof status);
  OK(lstat(path, &status));
  return status;
}

static inline void content_is(const char* path, const char* expected) {
  char content[256] = "";
  const int fd = (int)OK(open(path, O_RDONLY));
  OK(read(fd, content, sizeof content - 1));
  close(fd);
  if (strcmp(content, expected) != 0) complain(__FILE__, __LINE__, "%s: '%s', not '%s'", path, content, expected);
}

// Of posix_attributes.c.
void test_times(void);
void test_modes(void);
void test_permissions(void);
void test_xattrs(void);
void test_access_lists(void);
