/* SPDX-License-Identifier: Apache-2.0
 * control_load SOCKET RATE: asks a VM's control socket for its statistics, RATE times a second and on one
 * connection, until its input ends. Then prints how many answers there were, how many requests were late by a
 * period or more, and the processor time that a request took here, in nanoseconds. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char kRequest[] = "GET /v1/metrics HTTP/1.1\r\nHost: vm\r\nAccept: application/json\r\n\r\n";

static void die(const char* what) {
  perror(what);
  exit(1);
}

static long long now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* One answer, which has a Content-Length. */
static void ask(int fd) {
  static char answer[64 << 10];
  size_t got = 0, wanted = sizeof answer - 1;
  if (send(fd, kRequest, sizeof kRequest - 1, MSG_NOSIGNAL) != sizeof kRequest - 1) die("send");
  while (got < wanted) {
    const ssize_t part = recv(fd, answer + got, sizeof answer - 1 - got, 0);
    if (part <= 0) die("recv");
    got += (size_t)part;
    answer[got] = '\0';
    const char* const end = strstr(answer, "\r\n\r\n");
    if (!end) continue;
    const char* const length = strstr(answer, "Content-Length: ");
    if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0 || !length || length > end) die("no answer");
    wanted = (size_t)(end + 4 - answer) + strtoul(length + 16, NULL, 10);
    if (wanted > sizeof answer - 1) die("the answer is too long");
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  strncpy(name.sun_path, argv[1], sizeof name.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&name, sizeof name) < 0) die(argv[1]);
  const long long period = 1000000000LL / atoll(argv[2]);
  long long answers = 0, late = 0, next = now(CLOCK_MONOTONIC);
  for (;;) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    const long long wait = next - now(CLOCK_MONOTONIC);
    const struct timespec time = {.tv_sec = 0, .tv_nsec = wait > 0 ? wait : 0};
    if (wait <= -period) ++late;
    if (ppoll(&input, 1, &time, NULL) > 0) break;
    ask(fd);
    ++answers;
    next += period;
  }
  printf("answers %lld late %lld processor %lld\n", answers, late,
         answers ? now(CLOCK_PROCESS_CPUTIME_ID) / answers : 0);
  return 0;
}
