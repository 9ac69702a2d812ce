// SPDX-License-Identifier: Apache-2.0
// What the tests of a file system here have in common: checks that say what was expected, and random numbers that
// are the same for the same seed. Each test is a function of one directory, which it finds empty.
#pragma once

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

extern int failures;  // so far

void complain(const char* file, int line, const char* format, ...) __attribute__((format(printf, 3, 4)));

// The call must succeed; its value.
#define OK(call)                                                                                          \
  ({                                                                                                      \
    const long long value_ = (long long)(call);                                                           \
    if (value_ < 0) complain(__FILE__, __LINE__, "%s: %s", #call, strerror(errno));                       \
    value_;                                                                                               \
  })
// The call must fail with this error.
#define FAILS(call, error)                                                                                \
  do {                                                                                                    \
    errno = 0;                                                                                            \
    const long long value_ = (long long)(call);                                                           \
    const int errno_ = errno;                                                                             \
    if (value_ >= 0) complain(__FILE__, __LINE__, "%s: succeeds, not %s", #call, #error);                 \
    else if (errno_ != (error)) complain(__FILE__, __LINE__, "%s: %s, not %s", #call, strerror(errno_), #error); \
  } while (0)
#define IS(value, expected)                                                                               \
  do {                                                                                                    \
    const long long value_ = (long long)(value), expected_ = (long long)(expected);                       \
    if (value_ != expected_) complain(__FILE__, __LINE__, "%s: %lld, not %lld", #value, value_, expected_); \
  } while (0)
#define TRUE(condition)                                                        \
  do {                                                                         \
    if (!(condition)) complain(__FILE__, __LINE__, "not so: %s", #condition);  \
  } while (0)

// xorshift64*; the state is never 0.
static inline uint64_t random_next(uint64_t* state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545F4914F6CDD1DULL;
}
static inline uint64_t random_below(uint64_t* state, uint64_t bound) { return random_next(state) % bound; }

// The tests. The last two do so many operations, of a sequence that the seed decides.
void test_posix(void);
void test_random_file(uint64_t seed, long operations);
void test_random_tree(uint64_t seed, long operations);

// Of two_sides.c. A lock's kind is 'p' for POSIX, 'f' for flock().
void hold_lock(int kind, const char* file, const char* held, const char* enough);
void print_lock(int kind, const char* file);
void swap_names(const char* one, const char* other, const char* enough);
void read_swapped(const char* file, const char* expected, long times);
void append_lines(const char* file, const char* tag, long lines);
void count_turns(int kind, const char* lock_file, const char* file, long turns);

// Prints a line for each file under the directory, the same on every machine that sees the same files.
void print_manifest(const char* directory);
