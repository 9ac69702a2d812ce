// SPDX-License-Identifier: Apache-2.0
// tsc_khz: prints the frequency of this machine's time stamp counter, which the emulated test host counts time with, too.
// On a busy machine a kernel that measures it there may be wrong by a factor of ten.

#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct sample {
  double ns;
  unsigned long long ticks;
};

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_RAW, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

// Both clocks at one moment: the closest of several tries, since we may be interrupted between the two.
static struct sample take(void) {
  struct sample best = {0};
  double best_gap_ns = 1e18;
  for (int i = 0; i < 50; i++) {
    const double before_ns = now_ns();
    const unsigned long long ticks = __rdtsc();
    const double gap_ns = now_ns() - before_ns;
    if (gap_ns >= best_gap_ns) continue;
    best_gap_ns = gap_ns;
    best = (struct sample){before_ns + gap_ns / 2, ticks};
  }
  return best;
}

int main(void) {
  const struct sample first = take();
  nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
  const struct sample last = take();
  printf("%.0f\n", (last.ticks - first.ticks) / (last.ns - first.ns) * 1e6);
}
