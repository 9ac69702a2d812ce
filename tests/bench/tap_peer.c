// SPDX-License-Identifier: Apache-2.0
// tap_peer: the other side of a tap, and what a bare program makes of one.
//
//   tap_peer write NAME MILLISECONDS BYTES MTU  makes the tap and writes frames to it, one a system call
//   tap_peer read NAME MILLISECONDS BYTES MTU   makes the tap and reads frames, which `flood` sends beside it
//   tap_peer flood NAME BYTES                   sends to whoever has the tap, once it is there, until killed
//
// The first two print "frames N nanoseconds N processor N", the last being nanoseconds, too.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { kBatch = 64, kHeaderBytes = sizeof(struct virtio_net_hdr_v1) };

static _Noreturn void fail(const char* what) {
  fprintf(stderr, "tap_peer: %s: %s\n", what, strerror(errno));
  exit(1);
}

static long nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void write_frame(unsigned char* frame) {
  memset(frame, 0xff, 6);
  frame[6] = 2;
  frame[12] = 0x88;
  frame[13] = 0xb5;  // a type that nobody serves
}

static int make_tap(const char* name, int mtu) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  const int header = kHeaderBytes;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0) fail(name);
  const int control = socket(AF_INET, SOCK_DGRAM, 0);
  request.ifr_mtu = mtu;
  if (ioctl(control, SIOCSIFMTU, &request) < 0) fail("cannot set the MTU");
  request.ifr_flags = IFF_UP;
  if (ioctl(control, SIOCSIFFLAGS, &request) < 0) fail("cannot bring it up");
  close(control);
  return fd;
}

static void flood(const char* name, int bytes) {
  const int fd = socket(AF_PACKET, SOCK_RAW, 0);
  struct sockaddr_ll to = {.sll_family = AF_PACKET};
  while ((to.sll_ifindex = (int)if_nametoindex(name)) == 0) usleep(1000);  // it comes when its owner starts
  if (fd < 0 || bind(fd, (struct sockaddr*)&to, sizeof to) < 0) fail(name);
  static unsigned char frame[1 << 16];
  write_frame(frame);
  struct iovec piece = {frame, (size_t)bytes};
  struct mmsghdr batch[kBatch];
  for (int i = 0; i < kBatch; ++i)
    batch[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}};
  for (;;) sendmmsg(fd, batch, kBatch, 0);
}

int main(int count, char** arguments) {
  static unsigned char frame[kHeaderBytes + (1 << 16)];
  if (count == 4 && strcmp(arguments[1], "flood") == 0) flood(arguments[2], atoi(arguments[3]));
  if (count != 6) return 64;
  const int reads = strcmp(arguments[1], "read") == 0;
  const char* const name = arguments[2];
  const int bytes = atoi(arguments[4]);
  const int fd = make_tap(name, atoi(arguments[5]));
  const pid_t parent = getpid();
  pid_t flooder = 0;
  if (reads && (flooder = fork()) == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) flood(name, bytes);
  }
  write_frame(frame + kHeaderBytes);
  const size_t size = kHeaderBytes + (size_t)bytes;
  const long start = nanoseconds(CLOCK_MONOTONIC), processor = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  const long end = start + atol(arguments[3]) * 1000000L;
  long frames = 0, now = start;
  for (; now < end; now = nanoseconds(CLOCK_MONOTONIC)) {
    for (int i = 0; i < kBatch; ++i) {
      const ssize_t done = reads ? read(fd, frame, sizeof frame) : write(fd, frame, size);
      if (done > 0) {
        ++frames;
      } else if (reads) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        poll(&wait, 1, 100);
        break;
      } else {
        fail("write");
      }
    }
  }
  printf("frames %ld nanoseconds %ld processor %ld\n", frames, now - start,
         nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - processor);
  if (flooder > 0) kill(flooder, SIGKILL);
  return 0;
}
