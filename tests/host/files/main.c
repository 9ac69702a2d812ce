// SPDX-License-Identifier: Apache-2.0
// Tests of a file system, in a directory of it. See usage.
#include "files.h"

#include <stdarg.h>

int failures = 0;

void complain(const char* file, int line, const char* format, ...) {
  ++failures;
  fprintf(stdout, "FAILED: %s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stdout, format, arguments);
  va_end(arguments);
  fputc('\n', stdout);
  fflush(stdout);
}

static int usage(void) {
  fputs("usage: files posix DIRECTORY\n"
        "       files random-file DIRECTORY SEED OPERATIONS\n"
        "       files random-tree DIRECTORY SEED OPERATIONS\n"
        "       files manifest DIRECTORY\n"
        "       files hold posix|flock FILE HELD ENOUGH\n"
        "       files locked posix|flock FILE\n"
        "       files swap NAME OTHER ENOUGH\n"
        "       files read-swapped FILE LINE TIMES\n"
        "       files append FILE TAG LINES\n"
        "       files count posix|flock LOCK FILE TURNS\n",
        stderr);
  return 64;
}

// False: it is none of these.
static int two_sides(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "locked") == 0) print_lock(argv[2][0], argv[3]);
  else if (argc == 6 && strcmp(argv[1], "hold") == 0) hold_lock(argv[2][0], argv[3], argv[4], argv[5]);
  else if (argc == 5 && strcmp(argv[1], "swap") == 0) swap_names(argv[2], argv[3], argv[4]);
  else if (argc == 5 && strcmp(argv[1], "read-swapped") == 0) read_swapped(argv[2], argv[3], atol(argv[4]));
  else if (argc == 5 && strcmp(argv[1], "append") == 0) append_lines(argv[2], argv[3], atol(argv[4]));
  else if (argc == 6 && strcmp(argv[1], "count") == 0) count_turns(argv[2][0], argv[3], argv[4], atol(argv[5]));
  else return 0;
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 3) return usage();
  const char* const test = argv[1];
  if (two_sides(argc, argv)) return failures == 0 ? 0 : 1;
  if (strcmp(test, "manifest") == 0) {
    print_manifest(argv[2]);
    return 0;
  }
  if (chdir(argv[2]) < 0) {
    perror(argv[2]);
    return 66;
  }
  umask(022);
  const uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
  const long operations = argc > 4 ? atol(argv[4]) : 1000;
  if (strcmp(test, "posix") == 0) test_posix();
  else if (strcmp(test, "random-file") == 0) test_random_file(seed * 2 + 1, operations);
  else if (strcmp(test, "random-tree") == 0) test_random_tree(seed * 2 + 1, operations);
  else return usage();
  printf("%s: %d failures\n", test, failures);
  return failures == 0 ? 0 : 1;
}
