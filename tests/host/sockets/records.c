/* SPDX-License-Identifier: Apache-2.0
 *
 * Records (SOCK_SEQPACKET) of all lengths, against an echo. */
#define _GNU_SOURCE
#include "sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fill(char* bytes, size_t size, int seed) {
  for (size_t k = 0; k < size; ++k) bytes[k] = (char)(k * 31 + (size_t)seed);
}

static void check_echo(int fd, char* out, char* in, size_t size, int seed) {
  fill(out, size, seed);
  if (send(fd, out, size, 0) != (ssize_t)size) die("send");
  const ssize_t got = recv(fd, in, size + 1, 0);
  if (got != (ssize_t)size) fprintf(stderr, "sockets: record %d: %zd of %zu bytes\n", seed, got, size);
  check(got == (ssize_t)size && memcmp(in, out, size) == 0, "a record comes back as it was");
}

void records(int fd, int count, int most) {
  char* const out = malloc((size_t)most);
  char* const in = malloc((size_t)most + 1);
  for (int i = 0; i < count; ++i) check_echo(fd, out, in, i == 0 ? (size_t)most : i == 1 ? 1 : 1 + (size_t)i * 7919 % (size_t)most, i);
  printf("%d\n", count);
}

/* The lengths at which something begins: another buffer of the driver's, the socket's or the window's end. */
void boundaries(int fd) {
  static const size_t kLengths[] = {1,     2,     4051,  4052,  4053,   4095,   4096,   4097,   8104,  32767, 32768,
                                    32769, 65491, 65492, 65535, 65536,  65537,  131071, 131072, 131073, 212960, 262143, 262144};
  enum { kCount = sizeof kLengths / sizeof *kLengths, kMost = 262144 };
  char* const out = malloc(kMost + 1);
  char* const in = malloc(kMost + 1);
  for (int i = 0; i < kCount; ++i) check_echo(fd, out, in, kLengths[i], i);
  if (send(fd, out, kMost + 1, 0) >= 0 || errno != EMSGSIZE) die("a record longer than the window");
  check_echo(fd, out, in, 1, 0);
  printf("%d\n", kCount);
}

/* Empty records between others: as Linux's driver sends none, from the host only. */
void send_empties(int fd) {
  char end;
  for (size_t i = 0; i < 6; ++i)
    if (send(fd, "12345", i % 2 ? i : 0, 0) < 0) die("send");
  check(recv(fd, &end, 1, 0) == 1, "that the peer has them");
}

void receive_empties(int fd) {
  char bytes[8];
  for (ssize_t i = 0; i < 6; ++i) check(recv(fd, bytes, sizeof bytes, 0) == (i % 2 ? i : 0), "each record's length");
  if (send(fd, "e", 1, 0) != 1) die("send");
  puts("empties");
}
