/* SPDX-License-Identifier: Apache-2.0
 *
 * The ends of connections: each side ends each direction in each order, and processes die. */
#define _GNU_SOURCE
#include "sockets.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- the matrix */

enum { kMost = 10000 }; /* milliseconds for what has to come */

/* Does what `order` says and answers with what became of it: 'r' 'w' 'b' end a direction, or both; 's' sends a byte, until it
 * may not if `order` is 'S'; 'v' receives one. */
static char execute_order(int fd, char order, char byte) {
  switch (order) {
    case 'r':
    case 'w':
    case 'b':
      return shutdown(fd, order == 'r' ? SHUT_RD : order == 'w' ? SHUT_WR : SHUT_RDWR) == 0 || errno == ENOTCONN ? 'k' : 'f';
    case 's':
      return send(fd, &byte, 1, MSG_NOSIGNAL) == 1 ? 'k' : 'p';
    case 'S':
      for (int tries = 0; tries < kMost / 10; ++tries) {
        if (send(fd, &byte, 1, MSG_NOSIGNAL) < 0) return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? 'p' : 'f';
        usleep(10000);
      }
      return 'k';
    case 'v': {
      struct pollfd in = {.fd = fd, .events = POLLIN};
      char got;
      if (poll(&in, 1, kMost) != 1) return 't';
      const ssize_t count = recv(fd, &got, 1, MSG_DONTWAIT);
      if (count == 1) return got;
      return count == 0 || errno == ECONNRESET || errno == ENOTCONN ? 'e' : 'f';
    }
    default:
      return 'f';
  }
}

/* The peer's side of the matrix: of each two connections the first brings orders for the second. */
void obey(int fd) {
  static int orders = -1;
  char order[2];
  if (orders < 0) {
    orders = dup(fd);
    return;
  }
  while (recv(orders, order, sizeof order, MSG_WAITALL) == sizeof order) {
    const char answer = execute_order(fd, order[0], order[1]);
    write_all(orders, &answer, 1);
  }
  close(orders);
  orders = -1;
}

static char ask_peer(int control, char order, char byte) {
  const char message[2] = {order, byte};
  char answer = 0;
  write_all(control, message, sizeof message);
  check(read(control, &answer, 1) == 1, "the peer's answer");
  return answer;
}

/* Whether a direction still carries data, or else that both ends of it see its end. */
static void check_direction(int fd, int control, int outwards, int open, char byte, const char* history) {
  char sent, got;
  if (outwards) {
    sent = execute_order(fd, open ? 's' : 'S', byte);
    got = ask_peer(control, 'v', 0);
  } else {
    sent = ask_peer(control, open ? 's' : 'S', byte);
    got = execute_order(fd, 'v', 0);
  }
  /* What was sent before the sender knew better may have arrived. */
  if (open ? sent == 'k' && got == byte : sent == 'p' && got == 'e') return;
  fprintf(stderr, "sockets: FAILED: after %s: %s, which is %s: sending: %c, receiving: %c\n", history, outwards ? "outwards" : "inwards",
          open ? "open" : "ended", sent, got);
  exit(1);
}

/* Each side ends one direction or both, then so does either once more: 36 ways. */
void halves(const char* address) {
  static const char kinds[] = "rwb";
  int count = 0;
  for (int first = 0; first < 6; ++first) {
    for (int second = 0; second < 6; ++second) {
      const int control = connect_to(address), fd = connect_to(address);
      const int steps[2] = {first, second};
      int out = 1, in = 1;
      char history[32] = "nothing";
      for (int step = -1; step < 2; ++step) {
        if (step >= 0) {
          const int own = steps[step] < 3;
          const char kind = kinds[steps[step] % 3];
          const char done = own ? execute_order(fd, kind, 0) : ask_peer(control, kind, 0);
          check(done == 'k', "shutdown");
          snprintf(history + 12 * step, 13, " %s SHUT_%c", own ? "my" : "its", kind);
          if (kind != (own ? 'r' : 'w')) out = 0;
          if (kind != (own ? 'w' : 'r')) in = 0;
        }
        check_direction(fd, control, 1, out, (char)('A' + step), history);
        check_direction(fd, control, 0, in, (char)('a' + step), history);
      }
      close(fd);
      close(control);
      ++count;
    }
  }
  printf("%d\n", count);
}

/* --- deaths */

/* Sends and receives until something kills it, within 50 ms. */
void live_shortly(int fd) {
  static char bytes[16384];
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  const struct itimerval end = {.it_value = {.tv_usec = 1 + (time.tv_nsec / 64 + getpid() * 7919) % 50000}};
  setitimer(ITIMER_REAL, &end, NULL);
  for (;;) {
    struct pollfd both = {.fd = fd, .events = POLLIN | POLLOUT};
    poll(&both, 1, -1);
    if ((both.revents & POLLIN) && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == 0) return;
    if ((both.revents & POLLOUT) && send(fd, bytes, 4096, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) return;
    if (both.revents & (POLLHUP | POLLERR)) return;
  }
}

/* Processes that die amid their connection, several at a time. */
void let_die(int count, const char* address) {
  enum { kAtATime = 4 };
  for (int i = 0; i < count + kAtATime; ++i) {
    if (i >= kAtATime) wait(NULL);
    if (i >= count || fork() > 0) continue;
    live_shortly(connect_to(address));
    _exit(0);
  }
  printf("%d\n", count);
}

/* Sends that many bytes and is gone, whoever has not read them yet. */
void leave(int fd, long long count) {
  static char bytes[65536];
  for (; count > 0; count -= (long long)sizeof bytes) write_all(fd, bytes, count < (long long)sizeof bytes ? (size_t)count : sizeof bytes);
  _exit(0);
}
