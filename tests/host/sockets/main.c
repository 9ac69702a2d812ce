/* SPDX-License-Identifier: Apache-2.0
 *
 * Both ends of the vsock tests and benchmarks, in the guest and on the host. See usage(). */
#define _GNU_SOURCE
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void usage(void) {
  fputs(
      "usage: sockets connect|listen ADDRESS ACTION [ARGUMENT...]\n"
      "       sockets generate BYTES SEED: so many to standard output, all eight of them different\n"
      "\n"
      "ADDRESS  vsock:CID:PORT  unix:PATH  tcp:IP:PORT  port:PATH:PORT (PATH's CONNECT line); a + before it: records\n"
      "\n"
      "pipe                     standard input to the peer, then what the peer sends to standard output\n"
      "send BYTES CHUNK         that many, then waits for the peer's end; prints the seconds\n"
      "receive CHUNK [PER-S]    to the end, at most so many bytes a second; prints bytes and seconds\n"
      "ping COUNT               sends a byte and waits for it, again and again; prints the seconds\n"
      "echo                     sends back what comes; listen serves any number of connections at once\n"
      "many COUNT               that many connections at once, each with an echo\n"
      "storm COUNT THREADS      that many connections, each opened and closed; prints the seconds\n"
      "records COUNT MOST       records of 1 to MOST bytes, each with an echo\n"
      "boundaries               records of lengths at which something begins, each with an echo\n"
      "empties                  empty records and others: sent by connect, received by listen\n"
      "half                     ends the sending, then still receives\n"
      "halves                   each way to end directions of a connection, against obey\n"
      "obey                     the peer of halves\n"
      "die COUNT                that many processes with a connection that die amid it; listen has no COUNT\n"
      "leave BYTES              sends them and is gone\n"
      "lowat                    poll, epoll and SO_RCVLOWAT, against trickle\n"
      "trickle                  sends 10 bytes, when the peer sends one 90 more, and ends when it sends another\n"
      "exec COMMAND...          runs it with each connection as its standard input and output\n",
      stderr);
  exit(64);
}

void die(const char* what) {
  fprintf(stderr, "sockets: %s: %s\n", what, strerror(errno));
  exit(1);
}

void check(int good, const char* what) {
  if (good) return;
  fprintf(stderr, "sockets: FAILED: %s\n", what);
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* --- addresses */

int is_record;

/* For the longest record that the guest may be sent. */
static void make_room(int fd) {
  const int bytes = 1 << 18;
  if (is_record) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static int new_socket(const char* address, struct sockaddr_storage* name, socklen_t* length) {
  char path[108];
  unsigned cid, port;
  const int type = is_record ? SOCK_SEQPACKET : SOCK_STREAM;
  memset(name, 0, sizeof *name);
  if (sscanf(address, "vsock:%u:%u", &cid, &port) == 2) {
    struct sockaddr_vm* vm = (struct sockaddr_vm*)name;
    *vm = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    *length = sizeof *vm;
    return socket(AF_VSOCK, type, 0);
  }
  if (sscanf(address, "tcp:%107[^:]:%u", path, &port) == 2) {
    struct sockaddr_in* in = (struct sockaddr_in*)name;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, path, &in->sin_addr);
    *length = sizeof *in;
    const int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
  }
  if (sscanf(address, "unix:%107[^:]", path) != 1 && sscanf(address, "port:%107[^:]", path) != 1) usage();
  struct sockaddr_un* un = (struct sockaddr_un*)name;
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, sizeof path);
  *length = sizeof *un;
  const int fd = socket(AF_UNIX, type, 0);
  make_room(fd);
  return fd;
}

/* -1 with errno set if the peer does not want it. */
static int try_connect(const char* address) {
  struct sockaddr_storage name;
  socklen_t length;
  const int fd = new_socket(address, &name, &length);
  if (fd < 0) die("socket");
  if (connect(fd, (struct sockaddr*)&name, length) < 0) {
    close(fd);
    return -1;
  }
  if (strncmp(address, "port:", 5) != 0) return fd;
  char line[64];
  int bytes = snprintf(line, sizeof line, "CONNECT %s\n", strrchr(address, ':') + 1);
  if (write(fd, line, (size_t)bytes) != bytes) die("CONNECT");
  int got = 0;
  do {
    bytes = (int)read(fd, line + got, is_record ? sizeof line : 1);
    if (bytes <= 0) {
      errno = ECONNREFUSED;
      close(fd);
      return -1;
    }
    got += bytes;
  } while (line[got - 1] != '\n');
  check(strncmp(line, "OK ", 3) == 0, "the answer to CONNECT");
  return fd;
}

int connect_to(const char* address) {
  const int fd = try_connect(address);
  if (fd < 0) die("connect");
  return fd;
}

static int listen_at(const char* address) {
  struct sockaddr_storage name;
  socklen_t length;
  const int fd = new_socket(address, &name, &length);
  if (fd < 0) die("socket");
  if (name.ss_family == AF_UNIX) unlink(((struct sockaddr_un*)&name)->sun_path);
  if (bind(fd, (struct sockaddr*)&name, length) < 0 || listen(fd, 4096) < 0) die("listen");
  return fd;
}

/* --- actions */

void write_all(int fd, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t done = write(fd, bytes, count);
    if (done <= 0) die("write");
    bytes += done;
    count -= (size_t)done;
  }
}

static void generate(long long count, uint64_t seed) {
  static uint64_t words[8192];
  uint64_t next = seed << 32;
  for (; count > 0; count -= (long long)sizeof words) {
    for (size_t i = 0; i < sizeof words / sizeof *words; ++i) words[i] = ++next * 0x9e3779b97f4a7c15; /* odd, so none comes twice */
    write_all(STDOUT_FILENO, (const char*)words, count < (long long)sizeof words ? (size_t)count : sizeof words);
  }
}

static void* copy_input(void* argument) {
  static char bytes[65536];
  const int fd = *(int*)argument;
  ssize_t got;
  while ((got = read(STDIN_FILENO, bytes, sizeof bytes)) > 0) write_all(fd, bytes, (size_t)got);
  shutdown(fd, SHUT_WR);
  return NULL;
}

static void pipe_streams(int fd) {
  static char bytes[65536];
  pthread_t thread;
  pthread_create(&thread, NULL, copy_input, &fd);
  ssize_t got;
  while ((got = read(fd, bytes, sizeof bytes)) > 0) write_all(STDOUT_FILENO, bytes, (size_t)got);
  if (got < 0) die("read");
  pthread_join(thread, NULL);
}

static void send_bytes(int fd, long long count, size_t chunk) {
  char* const bytes = malloc(chunk);
  memset(bytes, 'x', chunk);
  const double start = now();
  for (; count > 0; count -= (long long)chunk) write_all(fd, bytes, count < (long long)chunk ? (size_t)count : chunk);
  shutdown(fd, SHUT_WR);
  while (read(fd, bytes, chunk) > 0) continue;
  printf("%.4f\n", now() - start);
}

static void receive_bytes(int fd, size_t chunk, long per_second) {
  char* const bytes = malloc(chunk);
  double start = 0;
  long long total = 0;
  ssize_t got;
  while ((got = read(fd, bytes, chunk)) > 0) {
    if (total == 0) start = now();
    total += got;
    if (per_second > 0) usleep((useconds_t)(1e6 * (double)got / (double)per_second));
  }
  if (got < 0) die("read");
  printf("%lld %.4f\n", total, now() - start);
}

static void ping(int fd, int count) {
  char byte = 'x';
  const double start = now();
  for (int i = 0; i < count; ++i) {
    write_all(fd, &byte, 1);
    check(read(fd, &byte, 1) == 1, "an answer");
  }
  printf("%.4f\n", now() - start);
}

static void echo(int fd) {
  char* const bytes = malloc(1 << 19);
  ssize_t got;
  while ((got = read(fd, bytes, 1 << 19)) > 0) {
    if (is_record) {
      if (send(fd, bytes, (size_t)got, 0) != got) die("send");
    } else {
      write_all(fd, bytes, (size_t)got);
    }
  }
  shutdown(fd, SHUT_WR);
  free(bytes);
}

/* Any number of connections, which wait for what they get back and send no more than the buffers hold. */
static void echo_all(int listener) {
  char* const bytes = malloc(1 << 19);
  const int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data = {.fd = listener}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  while (epoll_wait(epoll, &event, 1, -1) == 1 || errno == EINTR) {
    if (event.data.fd == listener) {
      const int fd = accept(listener, NULL, NULL);
      if (fd < 0) continue;
      make_room(fd);
      event = (struct epoll_event){.events = EPOLLIN, .data = {.fd = fd}};
      epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
      continue;
    }
    const ssize_t got = read(event.data.fd, bytes, 1 << 19);
    ssize_t sent = 0;
    if (got > 0 && is_record) sent = send(event.data.fd, bytes, (size_t)got, 0);
    while (got > 0 && sent >= 0 && sent < got) {
      const ssize_t part = write(event.data.fd, bytes + sent, (size_t)(got - sent));
      sent = part < 0 ? -1 : sent + part;
    }
    if (got <= 0 || sent < 0) close(event.data.fd);
  }
  die("epoll_wait");
}

static void many(const char* address, int count) {
  int* const fds = calloc((size_t)count, sizeof *fds);
  for (int i = 0; i < count; ++i) fds[i] = connect_to(address);
  for (int i = 0; i < count; ++i) write_all(fds[i], (char*)&i, sizeof i);
  for (int i = 0; i < count; ++i) {
    int answer = -1;
    check(recv(fds[i], &answer, sizeof answer, MSG_WAITALL) == sizeof answer && answer == i, "each has its own echo");
  }
  for (int i = 0; i < count; ++i) close(fds[i]);
  printf("%d\n", count);
}

static struct {
  const char* address;
  int count, failed;
} storm;

static void* storm_part(void* unused) {
  while (__atomic_sub_fetch(&storm.count, 1, __ATOMIC_RELAXED) >= 0) {
    const int fd = try_connect(storm.address);
    if (fd < 0) {
      __atomic_add_fetch(&storm.failed, 1, __ATOMIC_RELAXED);
    } else {
      close(fd);
    }
  }
  return unused;
}

static void make_storm(const char* address, int count, int threads) {
  pthread_t ids[64];
  const double start = now();
  storm.address = address;
  storm.count = count;
  for (int i = 0; i < threads && i < 64; ++i) pthread_create(&ids[i], NULL, storm_part, NULL);
  for (int i = 0; i < threads && i < 64; ++i) pthread_join(ids[i], NULL);
  if (storm.failed > 0) fprintf(stderr, "sockets: %d of %d refused, %s\n", storm.failed, count, strerror(errno));
  printf("%.4f\n", now() - start);
  exit(storm.failed > 0);
}

static void half(int fd) {
  char bytes[16];
  write_all(fd, "before", 6);
  shutdown(fd, SHUT_WR);
  check(recv(fd, bytes, 6, MSG_WAITALL) == 6 && memcmp(bytes, "before", 6) == 0, "the echo after the end of sending");
  check(read(fd, bytes, 1) == 0, "the peer's end");
  check(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "no sending after its end");
  puts("half");
}

static void lowat(int fd) {
  char bytes[100];
  struct pollfd poll_one = {.fd = fd, .events = POLLIN | POLLOUT};
  check(poll(&poll_one, 1, 0) == 1 && (poll_one.revents & POLLOUT), "room to send");
  poll_one.events = POLLIN;
  check(poll(&poll_one, 1, 10000) == 1 && (poll_one.revents & POLLIN), "poll tells of data");
  const int least = 100;
  check(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least) == 0, "SO_RCVLOWAT");
  check(poll(&poll_one, 1, 200) == 0, "less than SO_RCVLOWAT is no data");
  const int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  write_all(fd, "m", 1);
  check(epoll_wait(epoll, &event, 1, 10000) == 1 && (event.events & EPOLLIN), "as much as SO_RCVLOWAT is");
  check(recv(fd, bytes, 100, MSG_DONTWAIT) == 100, "all 100 bytes");
  check(recv(fd, bytes, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN, "and no more");
  write_all(fd, "e", 1);
  check(epoll_wait(epoll, &event, 1, 10000) == 1 && (event.events & EPOLLRDHUP), "epoll tells of the end");
  puts("lowat");
}

static void trickle(int fd) {
  char bytes[90] = {0};
  write_all(fd, bytes, 10);
  check(read(fd, bytes, 1) == 1, "the peer asks for more");
  for (int i = 0; i < 3; ++i) write_all(fd, bytes, 30);
  check(read(fd, bytes, 1) == 1, "the peer asks for the end");
  shutdown(fd, SHUT_WR);
  while (read(fd, bytes, 1) > 0) continue;
}

static void execute(int fd, char** command) {
  dup2(fd, STDIN_FILENO);
  dup2(fd, STDOUT_FILENO);
  if (fd > STDERR_FILENO) close(fd);
  execvp(command[0], command);
  die(command[0]);
}

static void act(int fd, int argc, char** argv) {
  const char* action = argv[0];
  if (!strcmp(action, "pipe")) return pipe_streams(fd);
  if (!strcmp(action, "send") && argc == 3) return send_bytes(fd, atoll(argv[1]), (size_t)atol(argv[2]));
  if (!strcmp(action, "receive") && argc >= 2)
    return receive_bytes(fd, (size_t)atol(argv[1]), argc > 2 ? atol(argv[2]) : 0);
  if (!strcmp(action, "ping") && argc == 2) return ping(fd, atoi(argv[1]));
  if (!strcmp(action, "echo")) return echo(fd);
  if (!strcmp(action, "records") && argc == 3) return records(fd, atoi(argv[1]), atoi(argv[2]));
  if (!strcmp(action, "boundaries")) return boundaries(fd);
  if (!strcmp(action, "half")) return half(fd);
  if (!strcmp(action, "die")) return live_shortly(fd);
  if (!strcmp(action, "leave") && argc == 2) return leave(fd, atoll(argv[1]));
  if (!strcmp(action, "lowat")) return lowat(fd);
  if (!strcmp(action, "trickle")) return trickle(fd);
  if (!strcmp(action, "exec") && argc >= 2) return execute(fd, argv + 1);
  usage();
}

int main(int argc, char** argv) {
  if (argc == 4 && !strcmp(argv[1], "generate")) return generate(atoll(argv[2]), (uint64_t)atoll(argv[3])), 0;
  if (argc < 4) usage();
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const char* address = argv[2];
  if (*address == '+') {
    is_record = 1;
    ++address;
  }
  argc -= 3;
  argv += 3;
  if (!strcmp(argv[-2], "connect")) {
    if (!strcmp(argv[0], "many") && argc == 2) return many(address, atoi(argv[1])), 0;
    if (!strcmp(argv[0], "storm") && argc == 3) make_storm(address, atoi(argv[1]), atoi(argv[2]));
    if (!strcmp(argv[0], "halves")) return halves(address), 0;
    if (!strcmp(argv[0], "die") && argc == 2) return let_die(atoi(argv[1]), address), 0;
    if (!strcmp(argv[0], "empties")) return send_empties(connect_to(address)), 0;
    act(connect_to(address), argc, argv);
    return 0;
  }
  const int listener = listen_at(address);
  if (!strcmp(argv[0], "echo")) echo_all(listener);
  const int forks = !strcmp(argv[0], "exec") || !strcmp(argv[0], "die");
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0) die("accept");
    if (!strcmp(argv[0], "obey")) {
      obey(fd);
    } else if (!strcmp(argv[0], "empties")) {
      return receive_empties(fd), 0;
    } else if (!forks) {
      return act(fd, argc, argv), 0;
    } else if (fork() == 0) {
      act(fd, argc, argv);
      return 0;
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    close(fd);
  }
}
